"""Test that no output contains the secrets planted in a capture; --show-secrets shows only the promised ones."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wiredoctor
from tests.compare.comparisons import all_forms
from tests.ladders import Packet, ladder_packets, ladders_in, to_pcap
from tests.pipeline.planting import MARK, NAMES, SHOWN, leaks, planted, secret, values
from tests.report.pages import page_data
from tests.support.analysis import analyze_bytes
from tests.support.command_line import run_command
from tests.support.sweeps import examples
from wiredoctor.findings import Report
from wiredoctor.report import html
from wiredoctor.report.data import csv, csv_rows, har, json, junit, sarif, table_folder
from wiredoctor.report.ladder.build import of_findings
from wiredoctor.report.packets import pcapng
from wiredoctor.report.row_order import Sink
from wiredoctor.report.terminal import connections, exchanges, markdown, show, show_text, text
from wiredoctor.report.terminal.terminal import Terminal, TerminalWriter
from wiredoctor.rule_engine import catalogue

RULES = Path(__file__).parent.parent / "rules"

OF_THE_FILE = {"clock-step", "damaged-file", "limited-transfer"}
"""Rules that speak of a whole file, and of no message in it."""

PLACES: dict[str, tuple[str, str]] = {
    "query": ("GET /a?token={s}&{s} HTTP/1.1", ""),
    "blank": ("GET /a b {s} HTTP/1.1", ""),
    "path": ("GET /password-reset/{s}/x;sid={s} HTTP/1.1", ""),
    "links": ("GET /reset/{s}/x/verify-email/{s}/{s}/y/invite/{s}/unsubscribe/MTU/5f4-0123456789abcdef0123 HTTP/1.1", ""),
    "webhooks": ("GET /services/T0/B0/{s}/hooks/T0/B0/{s}/api/webhooks/123456789012345678/{s}/with/key/{s} HTTP/1.1", ""),
    "bots": ("GET /file/bot12345:{s}{s}/x/bot12345%3A{s}{s} HTTP/1.1", ""),
    "keys": ("GET /x/AKIA{S}/ghp_{s}{s}{s}/sk_live_{s}/AIza{s}{s}{s}/xoxb-{s}/v=glpat-{s}{s} HTTP/1.1", ""),
    "words": (
        "POST / HTTP/1.1\r\nUpgrade: {s}, h2c\r\nContent-Encoding: {s}, gzip\r\nConnection: {s}\r\nExpect: {s}\r\n"
        "Keep-Alive: {s}\r\nX-Accel-Buffering: {s}\r\nContent-Length: 0",
        "HTTP/1.1 200 OK\r\nUpgrade: {s}\r\nContent-Encoding: {s}\r\nX-Accel-Buffering: {s}\r\nConnection: {s}\r\n"
        "Keep-Alive: timeout={s}, {s}\r\nContent-Length: 0\r\n\r\n",
    ),
    "encoded": ("GET /a%3Ftoken%3D{s}?x%3D{s} HTTP/1.1", ""),
    "absolute": ("GET http://ann:{s}@example.com/?{s}#{s} HTTP/1.1", ""),
    "slash in a password": ("GET http://ann:{s}/x@example.com/ HTTP/1.1", ""),
    "connect": ("CONNECT ann:{s}@example.com:443 HTTP/1.1", "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"),
    "method": ("{s} / HTTP/1.1", ""),
    "no target": ("GET {s} HTTP/1.1", ""),
    "name": ("GET / HTTP/1.1\r\nAuthorization Bearer {s}: x\r\n{s} : y\r\n{s}\x01: z", ""),
    "value with a control byte": ("GET / HTTP/1.1\r\nUser-Agent: a\rCookie: {s}\r\nReferer: x\0{s}", ""),
    "bare newline": ("GET / HTTP/1.1\r\nCookie: a\n{s}: b\r\nX-Api-Key: {s}\n{s}", ""),
    "folded": ("GET / HTTP/1.1\r\nUser-Agent: curl\r\n {s}\r\nVia: 1.1 a\r\n\tCookie: {s}\r\nHost: b\r\n {s}", ""),
    "length": ("GET / HTTP/1.1\r\nContent-Length: 5\rCookie: {s}", ""),
    "lengths": ("POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\rCookie: {s}", ""),
    "no scheme": (
        "GET / HTTP/1.1\r\nAuthorization: {s}",
        "HTTP/1.1 401 No\r\nWWW-Authenticate: {s}\r\nContent-Length: 0\r\n\r\n",
    ),
    "scheme": ("GET / HTTP/1.1\r\nProxy-Authorization: {s} {s}", "HTTP/1.1 407 No\r\nProxy-Authenticate: {s} {s}\r\n\r\n"),
    "host": ("GET / HTTP/1.1\r\nHost: ann:{s}@example.com", ""),
    "no host": ("GET / HTTP/1.1\r\nHost: a b {s}", ""),
    "reason": ("GET / HTTP/1.1", "HTTP/1.1 401 token {s}, {s}\r\nContent-Length: 0\r\n\r\n"),
    "excess": ("GET / HTTP/1.1", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx{s}{s}"),
    "excess of a form": ("POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx&password={s}&token={s}", ""),
    "no chunk": ("GET / HTTP/1.1", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{s}\r\n{s}"),
    "chunk extension": ("GET / HTTP/1.1", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;t={s}\r\nabc\r\nx;t={s}\r\n"),
    "trailer": (
        "GET / HTTP/1.1",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Token: {s}\r\n{s} : {s}\r\n\r\n",
    ),
    "body of HEAD": ("HEAD / HTTP/1.1", "HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n{s}{s}"),
    "multipart": (
        "POST / HTTP/1.1\r\nContent-Type: multipart/form-data; boundary={s}\r\n\r\n--{s}\r\n"
        'Content-Disposition: form-data; name="password"\r\n\r\n{s}',
        "",
    ),
    "websocket": (
        "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: bearer, {s}",
        "HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: {s}\r\n\r\n\x81\x10{s}",
    ),
    "redirect": (
        "GET / HTTP/1.1",
        "HTTP/1.1 302 Found\r\nLocation: /?code={s}\r\nSet-Cookie: sid={s}\r\nRefresh: 0;url=/{s}\r\n\r\n",
    ),
    "redis": ("*2\r\n$4\r\nAUTH\r\n$16\r\n{s}", "-WRONGPASS {s}\r\n"),
    "smtp": ("AUTH PLAIN {s}", "535 5.7.8 {s}\r\n"),
    "postgresql": ("p\0\0\0\x15{s}\0", "E\0\0\0\x40SFATAL\0Mpassword {s}\0\0"),
    "half a head": (
        "GET /?{s} HTTP/1.1\r\nCookie: {s}",
        "HTTP/1.1 408 Request Timeout\r\nX-Token: {s}\r\nConnection: close\r\n\r\n",
    ),
}
"""What the client sends first (with an empty line behind it, but for the last) and what the server answers; {s} is a secret, {S}
one in capitals."""

ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def spoken(client: str, server: str, *, ended: bool = True) -> list[Packet]:
    """Return a connection with this request and this response."""
    asked = client.encode("latin-1") + (b"\r\n\r\n" if ended else b"")
    lines = [
        *("0.000 > S", "0.010 < S.", "0.010 > ."),
        f"0.020 > P. {_quoted(asked)}",
        f"0.040 < P. {_quoted((server or ANSWER).encode('latin-1'))}",
        *("0.060 < F.", "0.080 > F.", "0.090 < ."),
    ]
    return ladder_packets("\n".join(lines))


def _quoted(data: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'


def in_places(random: Random) -> Iterator[list[Packet]]:
    """Yield conversations with a secret in each of PLACES and in each known field."""
    for name, sides in PLACES.items():
        client, server = (side.replace("{s}", secret(random)).replace("{S}", secret(random).upper()) for side in sides)
        yield spoken(client, server, ended=name != "half a head")
    for kind in range(len(values(""))):
        fields = "".join(f"\r\n{name}: {values(secret(random))[kind]}" for name in NAMES if name not in SHOWN)
        yield spoken(f"GET / HTTP/1.1{fields}", f"HTTP/1.1 200 OK\r\nContent-Length: 0{fields}\r\n\r\n")


def speaking(step: int) -> Iterator[list[Packet]]:
    """Return the first ladder of each rule with a finding, and every `step`-th after it."""
    for path in sorted(RULES.rglob("*.txt")):
        talks = [talk for title, talk in ladders_in(path) if title.startswith("speaks")]
        yield from map(ladder_packets, talks[::step])


def apart(packets: list[Packet], number: int, start: int) -> list[Packet]:
    """Return the conversation with other addresses, at a later time."""

    def moved(end: str) -> str:
        return end.replace("10.0.", f"{11 + number // 250}.{number % 250}.", 1) if end.startswith("10.0.") else end

    def of(packet: Packet) -> Packet:
        peers = replace(packet.peers, client=moved(packet.peers.client), server=moved(packet.peers.server))
        return replace(packet, time=start + packet.time, row=0, peers=peers)

    return [of(packet) for packet in packets]


def one_capture(talks: Iterator[list[Packet]]) -> bytes:
    """Return all of them as one capture, one after the other."""
    packets: list[Packet] = []
    start = 0
    for number, talk in enumerate(talks):
        moved = apart(talk, number, start)
        packets += moved
        start = max(p.time for p in moved) + 200_000_000_000
    return to_pcap(packets)


def all_talks(random: Random) -> Iterator[list[Packet]]:
    for harmless in (True, False):
        yield from (planted(talk, random, harmless=harmless) for talk in speaking(1))
    yield from in_places(random)


class Comments:
    """Stands for a capture that is copied: packets are copied as they are, and only what is said of them is masked."""

    def copy(self, out: io.BytesIO, packets: int, about: str, comments: Iterable[tuple[int, list[str]]], only: None) -> None:
        out.write("\n".join([about, *(text for _, texts in comments for text in texts)]).encode())


Writers = dict[str, Callable[[], str]]


def outputs(report: Report) -> dict[str, str]:
    """Return the report in every output format."""
    made = {name: write() for name, write in {**for_terminals(report), **for_files(report)}.items()}
    made["html"] += str(page_data(made["html"]))
    made |= all_forms(report)
    made["frames"] = f"{report.exchanges.rows()} {report.connections.rows()}"
    made["tables"] = " ".join(str(rows.rows()) for _, rows in table_folder.portions(report))
    made["objects"] = f"{report.findings} {report.captures}"
    return made


def for_terminals(report: Report) -> Writers:
    def shown(module: Any, width: int, **how: bool) -> str:
        out = io.StringIO()
        module.write(report, out, Terminal(width=width, unicode=True), **how)
        return out.getvalue()

    tables = {"text": text, "exchanges": exchanges, "connections": connections}
    made: Writers = {f"{name} {width}": partial(shown, tables[name], width) for name in tables for width in (80, 160)}
    # the complete text takes longest, and a wide terminal shows most of it
    return {**made, "everything": partial(shown, text, 160, everything=True)}


def for_files(report: Report) -> Writers:
    def written(write: Callable[[Sink], object]) -> str:
        sink = io.BytesIO()
        write(sink)
        return sink.getvalue().decode().replace("\r\n", "\n")

    forms: dict[str, Callable[[Sink], object]] = {
        "markdown": lambda out: markdown.write(report, out),
        "json": lambda out: json.write(report, out, full=True),
        "jsonl": lambda out: json.write_lines(report, out),
        "exchanges jsonl": lambda out: json.write_table_lines(report, out, "exchanges"),
        "exchanges json": lambda out: json.write_one_table(report, out, "exchanges"),
        "sarif": lambda out: sarif.write(report, out, catalogue()),
        "junit": lambda out: junit.write(report, out),
        "csv": lambda out: csv.write(report, out),
        "har": lambda out: har.write(report, out),
        "comments of pcapng": lambda out: pcapng.write(
            replace(report, packets={c.file: Comments() for c in report.captures}), out
        ),
        "exchanges csv": lambda out: csv_rows.write(report, out, "exchanges"),
        "html": lambda out: html.write(report, out),
    }
    return {name: partial(written, write) for name, write in forms.items()}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a capture that has only conversations with secrets in every place."""
    path = tmp_path_factory.mktemp("secrets") / "places.pcap"
    path.write_bytes(one_capture(in_places(Random(2))))
    return path


@pytest.mark.slow
def test_nothing_of_a_secret_leaves(tmp_path: Path) -> None:
    """The capture has secrets in every place, and every rule has a finding."""
    masked = analyze_bytes(tmp_path / "planted.pcap", one_capture(all_talks(Random(1))), keep=True)
    assert catalogue().keys() - {f.rule for f in masked.findings} == OF_THE_FILE
    for name, output in outputs(masked).items():
        assert (name, leaks(output)[:5]) == (name, [])


@pytest.mark.slow
def test_nothing_of_a_secret_is_shown_beside_its_packets(places: Path) -> None:
    report = wiredoctor.analyze(places, keep=True)
    file = report.captures[0].file
    whole = show.look(report, show.ShowRequest(None, file, 0, everything=True))
    assert whole.ladder.steps
    assert whole.heads
    heads = 0
    # the last have a secret in every field that there is
    last = report.connection_count - len(values(""))
    for number in (*range(0, last, 2), *range(last, report.connection_count)):
        shown = show.look(report, show.ShowRequest(None, file, number, everything=True))
        heads += len(shown.heads)
        out = io.StringIO()
        show_text.write(shown, TerminalWriter(out, Terminal(160)), secrets=False)
        assert leaks(out.getvalue()) == []
        assert leaks(f"{show.as_json(shown, report)}") == []
    assert heads > report.connection_count // 2
    for ladder in of_findings(report, report.findings):
        assert leaks(f"{ladder}") == []


SECRET = f"{MARK}hunter2k9{MARK}"
PIECES = [
    *(
        "GET ",
        "POST ",
        "/",
        "/a/b",
        "?",
        "a=",
        "&",
        " HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.0 ",
        "200 ",
        "401 ",
        "\r\n",
        "\r\n",
        "\n",
        "\r",
    ),
    *("\0", "\t", " ", ": ", " : ", ":", "Host", "Origin", "Cookie", "Authorization", "Content-Length", "5", "chunked"),
    *(
        "Transfer-Encoding",
        "Basic ",
        "Bearer ",
        "@",
        "http://",
        "#",
        ";",
        "\x80",
        "0\r\n\r\n",
        "<p>",
        SECRET,
        SECRET,
        SECRET,
        SECRET,
    ),
]
HEADS = ("GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n")
ANSWERS = (ANSWER, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 204 No Content\r\n")
SOUP = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


SPOKEN = st.tuples(st.sampled_from(["", *HEADS]), SOUP, st.sampled_from(["", *ANSWERS]), SOUP)
"""Four parts: what the client sends is made of the first two, what the server answers of the others."""


@pytest.mark.slow
@given(st.lists(SPOKEN, min_size=1, max_size=6))
@settings(max_examples=examples(18), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_leaves_of_what_is_no_head_at_all(tmp_path: Path, talks: list[tuple[str, str, str, str]]) -> None:
    """The capture has few connections, because writing the reports takes the time."""
    path = tmp_path / "soup.pcap"
    said = (spoken(head + asked, line + answered + "\r\n\r\n") for head, asked, line, answered in talks)
    for name, output in outputs(analyze_bytes(path, one_capture(said), keep=True)).items():
        assert (name, leaks(output)) == (name, []), talks


def test_what_show_secrets_changes(places: Path) -> None:
    masked, report = wiredoctor.analyze(places), wiredoctor.analyze(places, show_secrets=True)
    assert [f.fingerprint for f in report.findings] == [f.fingerprint for f in masked.findings]
    assert [(f.rule, f.severity, f.delay) for f in report.findings] == [(f.rule, f.severity, f.delay) for f in masked.findings]
    assert '"secrets": false,' in for_files(masked)["json"]()
    after = {**for_terminals(report), **for_files(report)}
    assert '"secrets": true,' in after["json"]()
    assert '"secrets": true,' in after["jsonl"]()
    for name in ("text 80", "exchanges 80"):
        assert after[name]().startswith("This report contains secrets")
    assert "**This report contains secrets" in after["markdown"]()[:400]


@pytest.mark.parametrize(
    "place", ["query", "path", "links", "webhooks", "bots", "keys", "absolute", "connect", "method", "host", "reason", "name"]
)
def test_each_place_is_shown(tmp_path: Path, place: str) -> None:
    client, server = (side.replace("{s}", SECRET) for side in PLACES[place])
    report = analyze_bytes(tmp_path / "place.pcap", to_pcap(spoken(client, server)), show_secrets=True)
    out = io.BytesIO()
    json.write(report, out, full=True)
    assert SECRET in out.getvalue().decode()
    if place == "name":
        [finding, *_] = [f for f in report.findings if f.rule == "malformed-head"]
        assert SECRET in " ".join(e.note for e in finding.evidence)


@pytest.mark.parametrize("place", ["excess", "excess of a form", "no chunk", "body of HEAD"])
def test_payload_is_shown_up_to_32_bytes(tmp_path: Path, place: str) -> None:
    client, server = (side.replace("{s}", SECRET) for side in PLACES[place])
    report = analyze_bytes(tmp_path / "place.pcap", to_pcap(spoken(client, server)), show_secrets=True)
    [finding] = [f for f in report.findings if f.family == "framing"]
    [note] = [e.note for e in finding.evidence if MARK in e.note]
    shown = note.partition('"')[2].rpartition('"')[0]
    assert shown.encode().decode("unicode_escape").encode("latin-1") in (client + server).encode("latin-1")
    assert len(shown.encode().decode("unicode_escape")) <= 32


def test_fields_that_nothing_speaks_of_are_not_kept(tmp_path: Path) -> None:
    packets = spoken(f"GET / HTTP/1.1\r\nCookie: {SECRET}\r\nX-Api-Key: {SECRET}", "")
    report = analyze_bytes(tmp_path / "cookie.pcap", to_pcap(packets), show_secrets=True)
    assert not leaks(str(outputs(report)))


def test_the_command_line(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(places.parent)

    def run(*words: str) -> tuple[str, str]:
        done = run_command(*words, "--verbose")
        return done.stdout, done.stderr

    out, error = run("analyze", "--all", places.name, "missing.pcap")
    assert "missing.pcap" in error
    assert not leaks(out + error)
    out, error = run("exchanges", "--show-secrets", "--format", "jsonl", places.name)
    assert leaks(out)
    assert "secrets" in error
    assert not leaks(error)
