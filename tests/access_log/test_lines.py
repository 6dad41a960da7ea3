"""Lines of access logs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiredoctor.access_log.lines import LONGEST, ReadLog, parse_line
from wiredoctor.access_log.log_line import LogLine

SECOND = 10**9
AT = int(datetime(2026, 1, 31, 10, 42, 16, tzinfo=UTC).timestamp()) * SECOND

COMBINED = b'10.0.0.1 - bob [31/Jan/2026:11:42:16 +0100] "GET /a?b=c HTTP/1.1" 502 157 "-" "curl/8.5 (x \\"y\\")"'
HAPROXY = (
    b"<134>Jan 31 10:42:16 lb haproxy[7]: 10.0.0.1:51234 [31/Jan/2026:10:42:16.123] front~ app/s1 0/0/1/-1/1002 504 194 - - sH-- "
    b'1/1/0/0/0 0/0 {a|b} {c} "GET /a?b=c HTTP/1.1"'
)


def read(raw: bytes, **changes: Any) -> LogLine:
    line = parse_line(raw)
    assert line is not None
    expected = {"number": 1, "method": "GET", "target": "/a?b=c", "client": "10.0.0.1", "time": AT, "unit": SECOND, **changes}
    assert line._asdict() == {**line._asdict(), **expected}
    return line


def test_combined_without_a_duration_does_not_say_what_its_time_is() -> None:
    read(COMBINED, format="combined", status=502, duration=None, moment="")


@pytest.mark.parametrize(
    ("tail", "duration", "moment"),
    [
        (b" 1.234", 1_234_000_000, "end"),  # nginx: $request_time
        (b' "-" rt=1.234 urt=1.200', 1_234_000_000, "end"),
        (b" 1.234 0.200, 1.000", 1_234_000_000, "end"),
        (b" 1234567", 1_234_567_000, "start"),  # Apache: %D
        (b" -", None, ""),
    ],
)
def test_the_duration_at_the_end_tells_the_server(tail: bytes, duration: int | None, moment: str) -> None:
    read(COMBINED + tail, status=502, duration=duration, moment=moment)


def test_the_name_of_the_server_may_come_first() -> None:
    read(b"www.example.com:80 " + COMBINED, status=502)


def test_escapes_are_undone() -> None:
    line = parse_line(b'10.0.0.1 - - [31/Jan/2026:10:42:16 +0000] "GET /\\xc3\\xa4\\"\\\\ HTTP/1.1" 200 1')
    assert line is not None
    assert line.target == '/\xc3\xa4"\\'


def test_what_is_no_request_has_no_target() -> None:
    read(b'10.0.0.1 - - [31/Jan/2026:10:42:16 +0000] "\\x16\\x03\\x01" 400 150', method="", target="", status=400)


def test_haproxy() -> None:
    changes = {"client": "10.0.0.1:51234", "time": AT + 123 * 10**6, "unit": 10**6}
    read(HAPROXY, format="haproxy", status=504, duration=1_002_000_000, moment="start", **changes)


def test_haproxy_without_a_response() -> None:
    aborted = HAPROXY.replace(b"/-1/1002 504 194", b"/-1/+7 -1 0")
    read(aborted, status=0, duration=7_000_000, client="10.0.0.1:51234", time=AT + 123 * 10**6, unit=10**6)


ENVOY = (
    b'[2016-04-15T20:17:00.310Z] "POST /api/v1/locations HTTP/2" 204 - 154 0 226 100 "10.0.35.28" "nsq2http" '
    b'"cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "locations" "tcp://10.0.2.1:80"'
)
"""The example of Envoy's documentation, "Default format string"."""

ISTIO = (
    b'[2020-11-25T21:26:18.409Z] "GET /status/418 HTTP/1.1" 418 - via_upstream - "-" 0 135 4 4 "-" "curl/7.73.0-DEV" '
    b'"84961386-6d84-929d-98bd-c5aee93b5c88" "httpbin:8000" "127.0.0.1:80" inbound|8000|| 127.0.0.1:41854 10.44.1.27:80 - default'
)
"""As in Istio's documentation, "Envoy Access Logs"."""

ALB = (
    b"http 2018-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 10.0.0.1:80 0.000 0.001 0.000 "
    b'200 200 34 366 "GET http://www.example.com:80/ HTTP/1.1" "curl/7.46.0" - - '
    b"arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067 "
    b'"Root=1-58337262-36d228ad5d99923122bbe354" "-" "-" 0 2018-07-02T22:22:48.364000Z "forward" "-" "-" "10.0.0.1:80" "200" "-" '
    b'"-" TID_1234abcd5678ef90 "-" "-" "-"'
)
"""The example of the user guide for Application Load Balancers, "Example log entries"."""


def since_1970(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * SECOND


def test_envoy_logs_the_start_and_milliseconds() -> None:
    at = since_1970(2016, 4, 15, 20, 17) + 310_000_000
    read(ENVOY, format="envoy", method="POST", target="/api/v1/locations", status=204, time=at, unit=10**6, moment="start",
         duration=226_000_000, client="")  # fmt: skip


def test_envoy_as_istio_sets_it_up() -> None:
    at = since_1970(2020, 11, 25, 21, 26, 18) + 409_000_000
    read(
        ISTIO,
        format="envoy",
        target="/status/418",
        status=418,
        time=at,
        unit=10**6,
        moment="start",
        duration=4_000_000,
        client="",
    )


@pytest.mark.parametrize(
    ("flags", "status", "read_status"),
    [(b"UF,URX", b"503", 503), (b"DC", b"0", 0), (b"DPE", b"400", 400), (b"NR", b"-", 0)],
)
def test_flags_of_envoy(flags: bytes, status: bytes, read_status: int) -> None:
    line = parse_line(ENVOY.replace(b"204 - 154 0 226 100", status + b" " + flags + b" 0 91 1001 -"))
    assert line is not None
    assert (line.status, line.duration) == (read_status, 1_001_000_000)


def test_connections_of_envoy_without_http_are_no_requests() -> None:
    assert parse_line(ENVOY.replace(b"POST /api/v1/locations HTTP/2", b"- - -").replace(b"204", b"0")) is None


def test_alb_logs_when_it_responded_and_three_times() -> None:
    changes = {"client": "192.168.131.39:2817", "target": "http://www.example.com:80/", "unit": 1000, "duration": 1_000_000}
    read(ALB, format="alb", status=200, time=since_1970(2018, 7, 2, 22, 23) + 186_641_000, moment="response", **changes)


def test_alb_without_an_answer_of_the_target_took_the_time_since_the_request_came() -> None:
    gone = ALB.replace(b"0.000 0.001 0.000 200 200", b"0.000 -1 -1 504 -")
    line = parse_line(gone)
    assert line is not None
    assert (line.status, line.target_status) == (504, 0)
    assert line.duration == 11_822_641_000  # from 22:22:48.364 to 22:23:00.186641
    for text in (gone.partition(b' "curl')[0], gone.replace(b"2018-07-02T22:22:48.364000Z", b"-")):
        line = parse_line(text)
        assert line is not None
        assert (line.status, line.duration) == (504, None)


def test_alb_and_its_target_may_answer_with_different_statuses() -> None:
    line = parse_line(ALB.replace(b"200 200 34", b"502 200 34"))
    assert line is not None
    assert (line.status, line.target_status) == (502, 200)


def test_alb_logs_a_malformed_request_without_one() -> None:
    line = parse_line(ALB.replace(b"GET http://www.example.com:80/ HTTP/1.1", b"- http://www.example.com:80- "))
    assert line is not None
    assert (line.method, line.target) == ("", "")


@pytest.mark.parametrize(
    ("values", "duration", "moment"),
    [
        ({"time_iso8601": "2026-01-31T10:42:16+00:00", "request": "GET /a?b=c HTTP/1.1", "request_time": "1.5"}, 1500, "end"),
        ({"start_time": "2026-01-31T10:42:16Z", "method": "GET", "path": "/a?b=c", "duration": 1500}, 1500, "start"),  # Envoy
        ({"ts": AT // SECOND, "request": {"method": "GET", "uri": "/a?b=c"}, "duration": 1.5}, 1500, ""),  # Caddy
        ({"time": AT // 10**6, "method": "GET", "url": "/a?b=c", "duration_ms": 1500.0}, 1500, ""),
        ({"@timestamp": "2026-01-31T10:42:16Z", "http": {"request": {"method": "GET"}}, "url": {"original": "/a?b=c"},
          "event": {"duration": 1_500_000_000}}, 1500, ""),  # Elastic Common Schema
        ({"timestamp": "2026-01-31T10:42:16Z", "method": "GET", "path": "/a?b=c", "latency": "1.5s"}, 1500, ""),
        ({"timestamp": "2026-01-31T10:42:16Z", "method": "GET", "path": "/a?b=c", "latency": "250ms"}, 250, ""),
    ],
)  # fmt: skip
def test_json(values: dict[str, Any], duration: int, moment: str) -> None:
    line = parse_line(json.dumps({**values, "status": "502"}).encode())
    assert line is not None
    assert (line.method, line.target, line.status, line.time) == ("GET", "/a?b=c", 502, AT)
    assert (line.duration, line.moment) == (duration * 10**6, moment)


def test_keys_of_json_can_be_named() -> None:
    values = {"when": "2026-01-31T10:42:16Z", "status": 200, "Outcome": 503, "m": "GET", "p": "/a"}
    line = parse_line(json.dumps(values).encode(), keys={"time": "when", "status": "Outcome", "method": "m", "target": "p"})
    assert line is not None
    assert (line.method, line.target, line.status, line.time) == ("GET", "/a", 503, AT)


def test_unknown_lines_are_counted_with_the_first() -> None:
    log = ReadLog()
    lines = [*log.read([COMBINED, b"\n", b"# a comment\n", b"x" * (LONGEST + 9), b'{"a": 1}', HAPROXY])]
    assert [line.number for line in lines] == [1, 6]
    assert (log.total, log.unknown, log.first_unknown) == (5, 3, 3)


@given(st.binary(max_size=300))
def test_no_line_raises_an_error(raw: bytes) -> None:
    for line in (raw, b"{" + raw, COMBINED + raw, HAPROXY + raw, ENVOY + raw, ALB + raw):
        parse_line(line)


@given(
    st.sampled_from((COMBINED + b" 1.234", HAPROXY, ENVOY, ISTIO, ALB)),
    st.integers(0, 400),
    st.binary(max_size=8),
    st.integers(0, 8),
)
def test_no_damaged_line_raises_an_error(line: bytes, at: int, put: bytes, cut: int) -> None:
    parse_line(line[:at] + put + line[at + cut :])


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("2026-01-31T10:42:16Z")
NAMES = st.sampled_from(("time", "ts", "status", "request", "method", "path", "duration", "latency", "http", "url", "client"))


@given(st.dictionaries(NAMES, st.recursive(VALUES, lambda inner: st.dictionaries(NAMES, inner), max_leaves=5)))
def test_no_json_raises_an_error(values: dict[str, Any]) -> None:
    line = parse_line(json.dumps(values).encode())
    if line is not None:
        assert abs(line.time) < 1 << 62
        assert line.duration is None or 0 <= line.duration < 1 << 62


@pytest.mark.parametrize(
    "hostile", [b"[" * LONGEST, b'{"a":' * 3000, b'"\\"' * 5000, b"a:1 [" * 3000, b": " * 8000, b'{"a":' + b"9" * 9000]
)
def test_hostile_lines_take_no_time(hostile: bytes) -> None:
    for line in (
        hostile[:LONGEST],
        (COMBINED + hostile)[:LONGEST],
        (HAPROXY + hostile)[:LONGEST],
        (hostile + HAPROXY)[-LONGEST:],
        (ENVOY[:27] + hostile)[:LONGEST],
        (ENVOY.partition(b" 154")[0] + b' x x "' + hostile)[:LONGEST],
        (ALB.partition(b' "curl')[0] + b' "' + hostile)[:LONGEST],
    ):
        parse_line(line)
