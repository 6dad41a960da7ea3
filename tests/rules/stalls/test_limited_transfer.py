"""Test limited-transfer with bodies whose round trips are all drawn, so the limiting factor is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.core.feeding import tables
from tests.support.sweeps import SLOW
from wiredoctor.testing import EPOCHS, POINTS, capture, check, findings

MSS = 1460
RTT = 0.1
Line = tuple[float, str]
Check = Callable[[str], None]


@pytest.fixture(
    params=["at the client", pytest.param("at every capture point", marks=SLOW), pytest.param("in small batches", marks=SLOW)]
)
def check_everywhere(request: pytest.FixtureRequest) -> Check:
    """`wiredoctor.testing.check_everywhere` in parts: hundreds of batches take long."""
    ways: list[dict[str, Any]] = {
        "at the client": [{"at": "client"}],
        "at every capture point": [{"at": at} for at in POINTS],
        "in small batches": [{"epoch_packets": size} for size in EPOCHS],
    }[request.param]

    def check_all(text: str) -> None:
        for way in ways:
            check(text, **way)

    return check_all


def ladder(lines: Iterable[Line], options: str, size: int, *, upload: bool = False, rtt: float = RTT) -> str:
    """A conversation captured at the client, 100 ms from the server: the lines of the body are in the order of time.

    `options` are those of the receiver's SYN.
    """
    head = f"HTTP/1.1 200 OK\\r\\nContent-Length: {size}\\r\\n\\r\\n"
    other = "win 64240 mss 1460 wscale 7" if "wscale" in options else "win 64240 mss 1460"
    client, server = (other, options) if upload else (options, other)
    text = [f"  0.000  >  S    {client}", f"  {rtt:.3f}  <  S.   {server}", f"  {rtt:.3f}  >  ."]
    if upload:
        text.append(f'  0.101  >  P.   "POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: {size}\\r\\n\\r\\n"')
    else:
        text += ['  0.101  >  P.   "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"', f'  {0.102 + rtt:.3f}  <  P.   "{head}"']
    text += [f"  {time:.4f}  {what}" for time, what in lines]
    if upload:
        end = max(time for time, _ in lines) + 0.01
        text.append(f'  {end:.4f}  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n"')
    return "\n".join(text)


def rounds(
    flights: Sequence[int], window: Callable[[int], int], *, start: float = 0.203, every: float = RTT, last: int = 0
) -> list[Line]:  # fmt: skip
    """A download: in each round trip so many segments arrive, 0.1 ms apart, and are acknowledged in pairs. `window`: of the
    number of a round trip. `last`: bytes of a small segment that ends each flight."""
    lines: list[Line] = []
    for number, flight in enumerate(flights):
        time = start + number * every
        for i in range(flight):
            lines.append((time + i / 10_000, f"<  .    x*{MSS}"))
            if i % 2 or (i == flight - 1 and not last):
                lines.append((time + i / 10_000, f">  .    win {window(number)}"))
        if last:
            lines.append((time + flight / 10_000, f"<  P.   x*{last}"))
            lines.append((time + flight / 10_000, f">  .    win {window(number)}"))
    return lines


def said(lines: str, expected: str) -> str:
    return f"{lines}\n  => {expected}"


SLOW_START = [10, 20]


def test_a_window_of_29_200_bytes_is_the_limit(check_everywhere: Check) -> None:
    flights = [*SLOW_START, *[20] * 12]
    text = ladder(rounds(flights, lambda _: 20 * MSS), f"win {20 * MSS} mss 1460 wscale 2", sum(flights) * MSS)
    check_everywhere(said(text, "limited-transfer, side client, kind receive-window, severity note, confidence high"))
    [finding] = findings(text)
    assert finding.measures["window"] == 20 * MSS
    assert finding.measures["percent"] >= 80
    assert finding.measures["length"] == sum(flights) * MSS
    assert finding.measures["rtt"] == pytest.approx(RTT, abs=0.0005)
    assert "29,200 bytes / 99.9 ms = 0.29 MB/s" in finding.message


def test_the_window_of_a_server_limits_an_upload(check_everywhere: Check) -> None:
    flights = [*SLOW_START, *[20] * 12]
    lines: list[Line] = []
    for number, flight in enumerate(flights):
        sent = 0.103 + number * (RTT + 0.0002)
        lines += [(sent + i / 10_000, f">  .    x*{MSS}") for i in range(flight)]
        # the ACK of a segment comes a round trip later, before the segment that it allows
        lines += [(sent + RTT + i / 10_000, f"<  .    ack {{{number}:{i}}}") for i in range(1, flight, 2)]
    lines.sort()
    head = len(f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {sum(flights) * MSS}\r\n\r\n")
    before = [sum(flights[:number]) for number in range(len(flights))]
    numbered = [
        (time, what)
        if "{" not in what
        else (time, f"<  .    ack {1 + head + (before[int(what[13:].split(':')[0])] + int(what[13:-1].split(':')[1]) + 1) * MSS}")
        for time, what in lines
    ]
    text = ladder(numbered, f"win {20 * MSS} mss 1460 wscale 2", sum(flights) * MSS, upload=True)
    check_everywhere(said(text, "limited-transfer, side server, kind receive-window, confidence high"))


def test_without_window_scaling_65_535_bytes_are_the_limit(check_everywhere: Check) -> None:
    flights = [10, 20, 40, *[44] * 12]
    text = ladder(rounds(flights, lambda _: 65_535), "win 65535 mss 1460", sum(flights) * MSS)
    check_everywhere(said(text, "limited-transfer, side client, kind no-window-scaling, confidence high"))
    [finding] = findings(text)
    assert finding.evidence[0].frame == 1


def test_a_small_window_is_not_small_for_want_of_scaling(check_everywhere: Check) -> None:
    flights = [4] * 14
    text = ladder(rounds(flights, lambda _: 4 * MSS), f"win {4 * MSS} mss 1460", sum(flights) * MSS)
    check_everywhere(said(text, "limited-transfer, side client, kind receive-window, confidence high"))


def test_a_window_of_two_small_segments_is_the_limit_at_both_ends() -> None:
    """Linux sends segments of half a window if the window is small. Two arrive per round trip, 70 ms and 30 ms apart.

    At the server, the ACKs leave no room for a full segment, because data is in flight. The window was never closed.
    """
    lines: list[Line] = []
    for number in range(120):
        time = 0.203 + number // 2 * RTT + number % 2 * 0.07
        lines += [(time, f"<  {'P.' if number % 2 else '. '}  x*768"), (time, ">  .    win 1536")]
    text = ladder(lines, "win 1536 mss 1460", 120 * 768)
    for at in POINTS:
        check(said(text, "limited-transfer, side client, kind receive-window, confidence high"), at=at)
        [finding] = findings(text, at=at)
        assert finding.measures["window"] == 1536
        assert "application" not in finding.message


def test_a_window_that_the_client_closes_in_each_round_trip_is_not_the_limit() -> None:
    """The client reads only 60 ms after the data came."""
    lines: list[Line] = []
    for number in range(30):
        time = 0.203 + number * (RTT + 0.06)
        lines += [(time, f"<  .    x*{MSS}"), (time, f"<  P.   x*{MSS}"), (time, ">  .    win 0")]
        lines.append((time + 0.06, f">  .    win {2 * MSS}"))
    text = ladder(lines, f"win {2 * MSS} mss 1460", 60 * MSS)
    for at in POINTS:
        assert not [one for one in findings(text, at=at) if one.rule == "limited-transfer"]


VARYING = (0.16, 0.2, 0.15, 0.24, 0.19)
"""Round trips in seconds that vary, as over a mobile link. That of the handshake takes 0.1 s."""


def varying(spread: bool) -> str:
    """A download that fills a window of 16 segments in each round trip; the round trips vary.

    `spread`: the segments of a round trip follow each other all the time, as out of a full queue. Otherwise they come together.
    """
    lines: list[Line] = []
    time = 0.203
    for number in range(20):
        trip = VARYING[number % len(VARYING)]
        for i in range(16):
            at = time + (i * trip / 16 if spread else i / 10_000)
            lines += [(at, f"<  .    x*{MSS}"), (at, f">  .    win {16 * MSS}")]
        time += trip
    return ladder(lines, f"win {16 * MSS} mss 1460", 320 * MSS)


def test_a_window_that_is_full_in_round_trips_that_vary_is_the_limit() -> None:
    check(said(varying(spread=False), "limited-transfer, side client, kind receive-window"))


def test_a_queue_that_sends_all_the_time_is_the_limit_and_not_the_window() -> None:
    assert not [one for one in findings(varying(spread=True)) if one.rule == "limited-transfer"]


def test_a_ceiling_below_the_window_looks_like_a_send_buffer(check_everywhere: Check) -> None:
    flights = [10, 20, 40, *[44] * 14]
    text = ladder(rounds(flights, lambda _: 1_000_000), "win 64240 mss 1460 wscale 7", sum(flights) * MSS)
    check_everywhere(said(text, "limited-transfer, side server, kind send-buffer, severity note, confidence low"))
    [finding] = findings(text)
    assert finding.measures["window"] == pytest.approx(44 * MSS, rel=0.05)


def test_a_send_buffer_that_is_filled_again_when_a_third_of_it_is_free(check_everywhere: Check) -> None:
    """The ACKs come after a round trip, and the sender waits 30 ms more. Two of 16 flights are a little larger."""
    flights = [10, 20, 40, *[44] * 7, 50, *[44] * 4, 50, 44]
    text = ladder(rounds(flights, lambda _: 1_000_000, every=1.3 * RTT), "win 64240 mss 1460 wscale 7", sum(flights) * MSS)
    check_everywhere(said(text, "limited-transfer, side server, kind send-buffer, severity note, confidence low"))


SILENT = {
    "a ceiling that is often exceeded": rounds([10, 20, 40, *[44, 44, 50] * 5], lambda _: 1_000_000),
    "a congestion window that grows": rounds([10, 20, *range(22, 50, 2)], lambda _: 1_000_000),
    "less than a second": rounds([10, 20, *[20] * 7], lambda _: 20 * MSS),
    "an application that writes by a clock": rounds([44] * 6, lambda _: 1_000_000, every=0.35, last=700),
    "an application that stops as soon as the ACK is there": rounds([20] * 16, lambda _: 1_000_000, every=0.1501, last=700),
    "a receiver that reads slowly: its window was larger before": rounds(
        [10, 20, 20, *[8] * 12], lambda number: 20 * MSS if number < 2 else 8 * MSS
    ),
    "a window of which the scale is unknown": [],
}


def test_a_window_that_is_full_for_a_short_round_trip_is_not_worth_a_note() -> None:
    flights = [4] * 300
    lines = rounds(flights, lambda _: 4 * MSS, start=0.107, every=0.004)
    text = ladder(lines, f"win {4 * MSS} mss 1460 wscale 2", sum(flights) * MSS, rtt=0.004)
    check(said(text, "nothing"))


@pytest.mark.parametrize("name", SILENT)
def test_silent(name: str) -> None:
    lines = SILENT[name] or rounds([10, 20, *[20] * 12], lambda _: 20 * MSS)
    size = sum(int(what.split("*")[1]) for _, what in lines if "*" in what)
    text = ladder(lines, f"win {20 * MSS} mss 1460 wscale 7", size)
    if not SILENT[name]:
        text = "\n".join(text.split("\n")[3:])
    assert not [one for one in findings(text) if one.rule == "limited-transfer"]


def test_a_path_that_stands_still_is_no_application_that_has_nothing_to_send(tmp_path: Path) -> None:
    """Of two transfers with the same times, the time stamps of one say that its segments left a round trip after each other."""
    taken: list[int] = []
    for still in (False, True):
        lines: list[Line] = []
        for number in range(16):
            time = 0.203 + number * RTT + (0.5 if number >= 8 else 0.0)
            left = f" left {time - 0.4:.4f}" if still and number == 8 else ""
            lines += [(time + i / 10_000, f"<  P.   x*{MSS - 12} ts{left}") for i in range(10)]
            lines += [(time + i / 10_000, ">  .    win 1000000 ts") for i in range(1, 10, 2)]
        lines.sort()
        text = ladder(lines, "win 64240 mss 1460 wscale 7 ts", 160 * (MSS - 12)).replace("wscale 7\n", "wscale 7 ts\n")
        path = tmp_path / f"{still}.pcap"
        path.write_bytes(capture(text))
        [row] = tables(path)["transfers"].to_dicts()
        taken.append(row["application"])
    assert taken[0] - taken[1] == pytest.approx(600_000_000, rel=0.05)
