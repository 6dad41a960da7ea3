"""No finding blames a host for what a worse capture of the same traffic lacks.

A seeded selection; `python -m tests.pipeline.disturb` looks at as many as one likes.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

import wiredoctor
from tests.captures.papers import ONE_EACH
from tests.ladders import ladders_in, to_pcap
from tests.pipeline import judging, recording
from tests.pipeline.disturb import OF_TIME
from tests.pipeline.disturbances import DISTURBANCES
from tests.pipeline.ladders import FILES, no_gateways_between, together
from tests.support.recordings import find_recording
from tests.support.sweeps import FORMS, sweep
from wiredoctor.tables import ACK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.pipeline.recording import Seen

SMALL = [path for path in ONE_EACH if path.stat().st_size < 20_000][::3]
NAMES = list(DISTURBANCES)
TIMELESS = [name for name in NAMES if name not in OF_TIME]


def blamed(path: Path, names: Sequence[str], tmp_path: Path) -> list[str]:
    """What is said of a host in disturbed copies of a capture, and must not be."""
    packets = recording.read(path)
    world = judging.World(packets, wiredoctor.analyze(path).findings)
    told: list[str] = []
    for name in names:
        disturbed = DISTURBANCES[name](packets, Random(f"{path.stem} {name}"))
        if not disturbed:
            continue
        worse = tmp_path / "worse.pcapng"
        recording.write(worse, disturbed)
        report = wiredoctor.analyze(worse)
        told += [f"{name}: {judging.told(finding)}" for finding in judging.alarms(world, disturbed, report)]
    return told


KNOWN = {
    # the server writes its heads in crumbs; without the ACKs between them they look as if they had not waited for any
    *(("werkzeug-two-pages", name) for name in NAMES if name.startswith("drop-acks")),
    # recorded before the response, the RST has one sign left, its TTL: before it, the server has only one identification
    ("foreign-reset-after-a-response", "queues"),
    # the answer of the other server, for which the client canceled its request, is lost
    *(("hedged-requests-client", name) for name in NAMES if name.startswith(("lose", "drop-flow", "drop-side"))),
}


@FORMS
@pytest.mark.parametrize("path", sweep(SMALL, SMALL[::24].__contains__), ids=lambda path: path.stem)
def test_recordings(path: Path, tmp_path: Path) -> None:
    names = [name for name in NAMES if (path.stem, name) not in KNOWN]
    assert blamed(path, Random(path.stem).sample(names, 2), tmp_path) == []


NOT_AFTER_IT = (
    # the server goes on, which shows that the RST is not its own; what follows the RST is lost
    "speaks: another TTL, and the server goes on",
    "speaks: another TTL, without ACK flag as a kernel sends it, and the server goes on",
    "speaks: identification 0, and the server goes on",
    "speaks: the client's identification, and the server goes on",
    "speaks: a sequence number ahead, which the server reaches",
    "speaks: instead of an answer, without ACK flag, and the server answers as if nothing had happened",
    "speaks: a box resets towards the client, with identification 0, and the server goes on with an ACK of the request",
    "silent: the path changes with the reset, and the server goes on with it",
    # the next SYN shows that the RST ended nothing; the second RST, that there was another sender
    "silent: a SYN is refused and sent again",
    "speaks: several resets at once, of which the second has identification 0",
    "speaks: a device resets in the server's name, without ACK flag, after the server has acknowledged the request",
    # the same over IPv6
    "speaks: over IPv6, where there is no identification",
)
NOT_BEFORE_IT = (
    # without the packets before it there is nothing to compare TTL, identification and sequence number with
    "speaks: another TTL, and a sequence number ahead",
    "speaks: identification 0, and a sequence number ahead",
    "silent: nobody took the reset, and both sides go on",
)
UNKNOWABLE: dict[tuple[str, str], tuple[str, ...]] = {
    # only the dropped ACKs say that the client's window was closed
    ("gateway_error", "drop-acks-0"): ("speaks: client-stalled: the client did not read, and the gateway gave up",),
    # heads that are cut off show no gateway: its connections are those of any client and any server
    ("gateway_error", "snap-96"): (
        "silent: the client left a gateway whose server hung inside its response: one client-abort, which names that server",
        "speaks: timed out twice, and each server behind answers after the gateway has closed",
        "speaks: timed out, and 408 in front, as of e2guardian and ziproxy",
        "speaks: timed out, and 504 in front",
        "speaks: timed out, and the server behind answers after the gateway has closed",
        "speaks: timed out; what the server behind sends after the gateway gave up has a gap, which is not why",
        "speaks: timed-out at the inner gateway, whose 502 the outer one passes on",
        "speaks: timed-out: the limit of the gateway expires right after a part of a slow head",
        "speaks: timed-out: the main server does not answer, and the copy for another server got a 200",
        "speaks: truncated, because a segment of the response behind never arrives, although its FIN does",
    ),
    ("foreign_reset", "ends-early"): NOT_AFTER_IT,
    # only the dropped ACK says that the server went on, or knew the connection
    ("foreign_reset", "drop-acks-1"): (
        "speaks: a device resets in the server's name, without ACK flag, after the server has acknowledged the request",
        "speaks: a box resets towards the client, with identification 0, and the server goes on with an ACK of the request",
    ),
    ("foreign_reset", "middle"): (*NOT_AFTER_IT, *NOT_BEFORE_IT),
    # only the server's close, which comes later, shows that the client had the complete response
    ("lingering_close", "middle"): ("silent: the client gave up before",),
    ("websocket_failed", "drop-flow-sides"): (
        # of a gateway that passed on a refusal, the side that shows the server behind is lost: what is left is, packet for
        # packet, a server that refuses by itself
        "speaks: a gateway passes the upgrade on, and the server behind has no WebSocket; told once, of the server behind",
        # the answer to the second try is lost
        "silent: the client tried again at once, and got it",
    ),
    # the WebSockets on the same path are lost
    ("websocket_failed", "lose-run"): (
        "silent: 429 and 503 on a path where others have a WebSocket: the server has too much to do",
    ),
    # the connections of the WebSockets on the same path go on over the step, so no rule judges them
    ("websocket_failed", "clock-step"): (
        "silent: 429 and 503 on a path where others have a WebSocket: the server has too much to do",
    ),
    # what the server said shows that it is no HTTP; the client's side alone is, byte for byte, a request with a body
    ("malformed_head", "drop-side-1"): ("silent: another that sends both at once",),
    # only the handshake shows that the window was closed before there was anything to read
    ("zero_window_stall", "no-handshake"): (
        "silent: a balancer announces a window of 0 in its SYN-ACK, and never reaches the server",
        "silent: a SYN proxy announces a window of 0 in its SYN-ACK, and opens it when the server has accepted",
        "silent: a balancer that never reaches the server is probed with one byte",
    ),
    **dict.fromkeys(
        (("connect_failed", "lose-1%"), ("connect_failed", "lose-10%")),
        (
            # without the SYN-ACK, an RST that came after it refuses the connection
            "silent: reset after the SYN-ACK, by something on the way",
            # without the second refusal, the first one is the last
            "speaks: both addresses of localhost refuse: one attempt, told of the last one",
        ),
    ),
    # the other close, whose equal idle time shows the timeout, is lost: what is left is a response that the server cut off
    ("idle_cut", "begins-late"): (
        "speaks: a gateway whose own timeout ends both sides of a stream, once for both",
        "speaks: two connections of a host that end 100 ms apart",
    ),
    # what tells these from an impatient client is on other connections, which are lost
    ("client_abort", "drop-flow-sides"): tuple(
        title
        for title, _ in ladders_in(next(file for file in FILES if file.stem == "client_abort"))
        if title.startswith(("speaks: left", "speaks: stopped"))
        # the other server's answers, for which the client cancels its requests, are lost
        or title
        in (
            "speaks: the client sends each request to two servers, and cancels the slower one",
            "speaks: such a client is busy for once, and cancels its request late",
            # the closes after other silences, or the requests to stop, are lost
            "silent: two of four streams left after equal silences",
            "silent: streams that the client had just stopped by calls",
            # the closes after equal waits are lost
            "speaks: three waits of 700 ms are a limit, although others behind the same address load pages",
            "speaks: three waits of 700 ms are a limit of one program, although another one behind the same address gives up,"
            " too",
        )
    ),
}
"""Ladders with disturbances that take away what tells who it was."""


@FORMS
@pytest.mark.parametrize("file", sweep(FILES, FILES[3::24].__contains__), ids=lambda file: file.stem)
def test_ladders(file: Path, tmp_path: Path) -> None:
    named = [name for stem, name in UNKNOWABLE if stem == file.stem]
    others = Random(file.stem).sample([name for name in TIMELESS if name not in named], 3)
    for names in (others, *([name] for name in named)):
        path = tmp_path / f"{file.stem}.pcap"
        path.write_bytes(to_pcap(together(file, UNKNOWABLE.get((file.stem, names[0]), ()))))
        with no_gateways_between():
            assert blamed(path, names, tmp_path) == []


@pytest.mark.parametrize(("stem", "name"), UNKNOWABLE)
def test_exceptions_are_ladders(stem: str, name: str) -> None:
    titles = {title for file in FILES if file.stem == stem for title, _ in ladders_in(file)}
    assert {*UNKNOWABLE[stem, name]} <= titles


def test_what_is_written_is_what_was_read(tmp_path: Path) -> None:
    path = SMALL[0]
    packets = recording.read(path)
    copy = tmp_path / "copy.pcapng"
    recording.write(copy, packets)
    assert recording.read(copy) == packets


def content(packets: Sequence[Seen]) -> dict[tuple[object, int], bytes]:
    """The payload of each side of each flow, as if nothing was lost or repeated."""
    sides: dict[tuple[object, int], dict[int, int]] = {}
    # side 0 is that of the first packet
    turned = int(next(p.flags & ACK for p in packets if p.flow) != 0)
    for p in packets:
        stream = sides.setdefault((p.flow, p.side ^ turned), {})
        for i, byte in enumerate(p.data[p.payload : p.payload + p.size] if p.size else b""):
            stream.setdefault(p.seq + i, byte)
    return {place: bytes(stream[at] for at in sorted(stream)) for place, stream in sides.items()}


@pytest.mark.parametrize("name", ["mirror", "mirror-routed", "two-points", "shuffle", "jitter", "queues", "coalesce", "split"])
def test_what_loses_nothing_keeps_every_byte(name: str, tmp_path: Path) -> None:
    path = find_recording("events-with-pauses.pcap")
    packets = recording.read(path)
    disturbed = DISTURBANCES[name](packets, Random(1))
    assert disturbed is not None
    copy = tmp_path / "copy.pcapng"
    recording.write(copy, disturbed)
    assert content(recording.read(copy)) == content(packets)
