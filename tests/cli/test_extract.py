"""Test that `wiredoctor extract` copies a part of the capture packet for packet, and that this part shows the same finding."""

from __future__ import annotations

import errno
import ipaddress
import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import dpkt
import pytest
from typer.testing import CliRunner, Result

import wiredoctor
from tests.capture.reading import Opened, contents, whole
from tests.support.analysis import analyze_bytes
from tests.support.needs import skip_without
from tests.support.recordings import find_recording
from tests.support.sweeps import SLOW, sweep
from wiredoctor import limits
from wiredoctor.capture.pcapng import write
from wiredoctor.cli.app import application
from wiredoctor.extract.anonymize.message_heads import Heads
from wiredoctor.extract.anonymize.names import Addresses
from wiredoctor.extract.minimize import causes_not_shown
from wiredoctor.findings import Finding
from wiredoctor.report.words import duration
from wiredoctor.testing import capture

SPLIT = find_recording("server-head-body-split.pcap")

CASES = [
    # the third of nine: what comes behind it is not needed
    (SPLIT, 3),
    # a request that was lost, and a second connection that has no part in it
    (find_recording("behind-nginx-race.pcap"), 1),
    # a summary: it takes several connections
    (find_recording("apache-idle-close.pcap"), 1),
    # pcapng already
    (find_recording("client-sees-head-body-split.pcapng"), 1),
]


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(application(["extract"]), ["extract", *map(str, words)], prog_name="wiredoctor")


def unwrapped(text: str) -> str:
    """The text with each sentence on one line."""
    return text.replace("\n  ", " ")


def packets(path: Path) -> list[tuple[int, bytes, int]]:
    """Time since 1970 (ns), bytes and length of each packet, as our reader has them."""
    with Opened(path) as capture:
        columns = whole(capture)
        times = [(capture.first_time or 0) + time for time in columns["time"].tolist()]
        return [*zip(times, contents(capture, columns), columns["length"].tolist(), strict=True)]


def key(finding: Finding) -> tuple[object, ...]:
    return finding.rule, finding.kind, finding.side, finding.severity, finding.confidence, finding.client, finding.server


@pytest.mark.parametrize(
    ("path", "number"), sweep(CASES, CASES[2:3].__contains__), ids=lambda x: x.stem if isinstance(x, Path) else str(x)
)
def test_it_shows_the_same_in_fewer_packets(path: Path, number: int, tmp_path: Path) -> None:
    small = tmp_path / "small.pcapng"
    done = run(path, "--finding", number, "-o", small)
    assert done.exit_code == 0, done.output
    finding = wiredoctor.analyze(path).findings[number - 1]
    same = [f for f in wiredoctor.analyze(small).findings if key(f) == key(finding)]
    next_line = done.stdout.splitlines()[-1]
    assert next_line.rpartition(" ")[0] == f"next: wiredoctor show {small} --finding"
    assert int(next_line.rpartition(" ")[2]) in [f.number for f in same]
    whole, part = packets(path), packets(small)
    assert len(part) < len(whole)
    rest = iter(whole)
    assert all(packet in rest for packet in part), "packets as they were, in their order"
    if len(same) == 1 and same[0].delay is not None:
        assert same[0].delay == pytest.approx(finding.delay, abs=1e-8)
        assert [e.note for e in same[0].evidence] == [e.note for e in finding.evidence]
        assert [part[e.frame - 1] for e in same[0].evidence] == [whole[e.frame - 1] for e in finding.evidence]


def number(value: float) -> str:
    return duration(value) if isinstance(value, float) else f"{value:,}"


@SLOW
@pytest.mark.parametrize(
    ("name", "smaller"),
    sweep(
        [
            # three connections were closed at the idle limit, and a fourth proves that the client keeps them longer
            ("idle-close-inverted.pcap", {"closes"}),
            ("requests-without-session.pcap", {"exchanges", "wasted"}),
            ("python-http10.pcap", {"downgraded", "requests"}),
            ("behind-nginx-slow-sibling.pcap", {"requests", "all_requests"}),
        ],
        lambda case: case[0] == "idle-close-inverted.pcap",
    ),
)
def test_a_summary_says_what_it_counts_less(name: str, smaller: set[str], tmp_path: Path) -> None:
    small = tmp_path / "small.pcapng"
    said = run(find_recording(name), "--finding", "1", "-o", small).output
    whole = wiredoctor.analyze(find_recording(name)).findings[0]
    [cut] = [f for f in wiredoctor.analyze(small).findings if key(f) == key(whole)]
    assert {one for one in smaller if cut.measures[one] < whole.measures[one]} == smaller
    [line] = [line for line in unwrapped(said).splitlines() if " instead of " in line]
    for one in smaller:
        assert f"{one.replace('_', ' ')} {number(cut.measures[one])} instead of {number(whole.measures[one])}" in line
    assert line.count(" instead of ") == sum(number(cut.measures[n]) != number(whole.measures[n]) for n in whole.measures)
    assert "as it was" not in said


@pytest.mark.parametrize("path", sweep([SPLIT, find_recording("events-cut.pcap")], SPLIT.__eq__))
def test_a_finding_that_is_whole_is_as_it_was(path: Path, tmp_path: Path) -> None:
    wrapped = run(path, "--finding", "1", "-o", tmp_path / "small.pcapng").output
    assert max(len(line) for line in wrapped.splitlines() if "small.pcapng" not in line) <= 100
    said = unwrapped(wrapped)
    assert "shows finding 1 of the capture unchanged: " in said
    assert "instead of" not in said


@pytest.mark.slow
def test_a_description_that_needs_other_packets_is_not_called_unchanged(tmp_path: Path) -> None:
    small = tmp_path / "small.pcapng"
    said = unwrapped(run(find_recording("killed-on-the-way-client.pcap"), "--finding", "1", "-o", small).output)
    whole = wiredoctor.analyze(find_recording("killed-on-the-way-client.pcap")).findings[0]
    [cut] = [f for f in wiredoctor.analyze(small).findings if key(f) == key(whole)]
    assert "it also closed 3 other connections" in whole.message
    assert cut.message != whole.message
    assert "shows finding 1 of the capture: " in said
    assert "the finding's description differs, because it depends on packets that were left out" in said


def test_one_frame_is_a_frame(tmp_path: Path) -> None:
    said = unwrapped(run(find_recording("python-http10.pcap"), "--finding", "1", "-o", tmp_path / "small.pcapng").output)
    assert "now in frame 6\n" in said


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_finding_about_the_file_is_refused_in_one_line(tmp_path: Path) -> None:
    result = run(find_recording("cut-off.pcap"), "--finding", "1", "-o", tmp_path / "small.pcapng")
    said = "wiredoctor: --finding 1: no part of the capture shows this finding: it concerns the complete file\n"
    assert (result.exit_code, result.output) == (2, said)


def test_a_cause_that_is_not_shown_is_named() -> None:
    [whole] = [f for f in wiredoctor.analyze(find_recording("behind-apache-crash.pcap")).findings if f.caused_by]
    assert causes_not_shown(whole, replace(whole, caused_by=())) == ["no-response"]
    assert causes_not_shown(whole, whole) == []


AT_A_GATEWAY = """
connection 1
0.0000  >  S    mss 1460
0.0004  <  S.   mss 1460
0.0004  >  .
0.0010  >  P.   "GET /first/order HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
0.0170  <  P.   "HTTP/1.1 502 Bad Gateway\\r\\nContent-Length: 3\\r\\n\\r\\nbad"
0.0175  >  .
0.1010  >  P.   "GET /second/order HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
0.1170  <  P.   "HTTP/1.1 502 Bad Gateway\\r\\nContent-Length: 3\\r\\n\\r\\nbad"
0.1175  >  F.
0.1180  <  F.
connection 2, client 10.0.0.2:50002, server 10.0.0.3:8001
0.0020  >  S    mss 1460
0.0024  <  S.   mss 1460
0.0024  >  .
0.0026  >  P.   "GET /first/order HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
0.0160  <  F.
0.0162  >  F.
connection 3, client 10.0.0.2:50003, server 10.0.0.3:8001
0.1020  >  S    mss 1460
0.1024  <  S.   mss 1460
0.1024  >  .
0.1026  >  P.   "GET /second/order HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
0.1160  <  F.
0.1162  >  F.
"""
"""A gateway answers two requests of one connection with 502, because its server closes without a response each time."""


def of_the_second(report: wiredoctor.Report) -> Finding:
    found = [f for f in report.findings if f.rule == "gateway-error" and f.request == "GET /second/order"]
    assert len(found) == 1
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--anonymize",)])
def test_what_a_gateway_sent_is_never_missing(more: tuple[str, ...], tmp_path: Path) -> None:
    """The first request would seem to have been sent to no server, if connection 2 were left out."""
    path, small = tmp_path / "whole.pcap", tmp_path / "small.pcapng"
    whole = analyze_bytes(path, capture(AT_A_GATEWAY))
    said = run(path, "--finding", of_the_second(whole).number, "-o", small, *more)
    assert said.exit_code == 0, said.output
    there = {(f.rule, f.kind) for f in wiredoctor.analyze(small).findings}
    assert there == {(f.rule, f.kind) for f in whole.findings}
    assert [kind for rule, kind in there if rule == "gateway-error"] == ["closed"]
    assert "only the extract shows" not in said.output


def test_what_only_the_extract_shows_is_named(tmp_path: Path) -> None:
    path = tmp_path / "whole.pcap"
    path.write_bytes(capture(AT_A_GATEWAY))
    said = run(path, "--connection", "0", "--connection", "2", "-o", tmp_path / "small.pcapng").output
    only = "only the extract shows gateway-error (not-passed-on), because the extract lacks other packets"
    assert only in " ".join(said.split())


def test_a_connection_says_what_takes_others(tmp_path: Path) -> None:
    """One stream that was cut after a rest proves nothing; several at the same rest do."""
    small, path = tmp_path / "small.pcapng", find_recording("events-cut.pcap")
    said = run(path, "--connection", "0", "-o", small).output
    assert "idle-cut" in {f.rule for f in wiredoctor.analyze(path).findings}
    assert "idle-cut" not in {f.rule for f in wiredoctor.analyze(small).findings}
    assert "1 occurrence needed packets that were left out: idle-cut" in said
    assert "cannot be seen" not in run(SPLIT, "--connection", "0", "-o", tmp_path / "b.pcapng").output


def test_a_connection_whole(tmp_path: Path) -> None:
    small = tmp_path / "small.pcapng"
    path = find_recording("curl-in-parallel.pcap")
    assert run(path, "--connection", "1", "--connection", "0", "-o", small).exit_code == 0
    rows = wiredoctor.analyze(path).connections
    wanted = rows.filter(rows["connection"].is_in([0, 1]))
    assert len(packets(small)) == wanted["packets"].sum()
    assert sorted(wiredoctor.analyze(small).connections["client"]) == sorted(wanted["client"])


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--anonymize",)], ids=["plain", "anonymous"])
@pytest.mark.parametrize("dropped", [7, 0])
def test_a_lossy_capture_stays_one(dropped: int, more: tuple[str, ...], tmp_path: Path) -> None:
    """The counts stay, also where most packets go; so the extract shows the finding with the confidence that it has."""
    path, small = tmp_path / "lossy.pcapng", tmp_path / "small.pcapng"
    counts = write.statistics(0, 0, dropped, 9_000, None, 0)
    before = analyze_bytes(path, find_recording("client-sees-head-body-split.pcapng").read_bytes() + counts)
    assert run(path, "--finding", "1", *more, "-o", small).exit_code == 0
    after = wiredoctor.analyze(small)
    assert after.captures[0].packets < before.captures[0].packets
    assert after.captures[0].dropped == dropped
    assert after.captures[0].dropped_of == 9_000 + dropped
    assert after.findings[0].confidence == before.findings[0].confidence


@pytest.mark.parametrize("more", [(), ("--anonymize",)], ids=["plain", "anonymous"])
def test_drops_keep_their_time(more: tuple[str, ...], tmp_path: Path) -> None:
    path, small = tmp_path / "lossy.pcapng", tmp_path / "small.pcapng"
    whole = find_recording("client-sees-head-body-split.pcapng").read_bytes()
    times = [time for time, *_ in packets(find_recording("client-sees-head-body-split.pcapng"))]
    counts = [write.statistics(0, 0, total, 0, times[n], times[n] + 1_000) for total, n in ((3, 1), (8, 5))]
    places = list(ends(whole))
    path.write_bytes(whole[: places[2]] + counts[0] + whole[places[2] : places[6]] + counts[1] + whole[places[6] :])
    assert run(path, "--connection", "0", *more, "-o", small).exit_code == 0
    before, after = drops_of(path), drops_of(small)
    assert [packets for *_, packets in before] == [3, 5]
    assert after == before


def ends(pcapng: bytes) -> Iterator[int]:
    """The places behind the packets of a little-endian file."""
    at = 0
    while at < len(pcapng):
        kind, length = struct.unpack_from("<II", pcapng, at)
        at += length
        if kind == 6:
            yield at


def drops_of(path: Path) -> list[tuple[int | None, int, int]]:
    report = wiredoctor.analyze(path, keep=True)
    return [*(report.packets[str(path)].drops() or ())]


def test_a_connection_whole_as_tshark_reads_it(tmp_path: Path) -> None:
    skip_without("tshark")
    import subprocess

    path, small = find_recording("curl-in-parallel.pcap"), tmp_path / "small.pcapng"
    assert run(path, "--connection", "1", "-o", small).exit_code == 0
    fields = [
        "-T",
        "fields",
        "-e",
        "frame.time_epoch",
        "-e",
        "frame.len",
        "-e",
        "tcp.seq_raw",
        "-e",
        "tcp.ack_raw",
        "-e",
        "tcp.payload",
    ]
    said = [
        subprocess.run(["tshark", "-n", "-r", str(file), *words, *fields], capture_output=True, check=True, timeout=60).stdout
        for file, words in ((path, ["-Y", "tcp.stream == 1"]), (small, []))
    ]
    assert said[0] == said[1] != b""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([SPLIT], "specify --finding N"),
        ([SPLIT, "--finding", "1", "--connection", "0"], "specify --finding N"),
        ([SPLIT, "--finding", "99"], "the findings are numbered 1 to 9"),
        ([SPLIT, "--connection", "99"], "there is no such connection"),
        ([SPLIT, find_recording("apache-ab.pcap"), "--finding", "1"], "extract needs exactly one capture, not 2"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(words: list[object], said: str, tmp_path: Path) -> None:
    done = run(*map(str, words), "-o", tmp_path / "x.pcapng")
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())
    assert not (tmp_path / "x.pcapng").exists()


def test_it_never_overwrites_what_it_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    path.write_bytes(find_recording("client-sees-head-body-split.pcapng").read_bytes())
    before = path.read_bytes()
    assert run(path, "--finding", "1", "-o", path).exit_code == 2
    assert run(path, "--finding", "1", "-o", tmp_path / "a.pcap").exit_code == 2
    assert path.read_bytes() == before


@SLOW
@pytest.mark.parametrize(("path", "number"), CASES, ids=lambda x: x.stem if isinstance(x, Path) else str(x))
def test_an_anonymous_one_shows_the_same_and_says_nothing_else(path: Path, number: int, tmp_path: Path) -> None:
    plain, small = tmp_path / "plain.pcapng", tmp_path / "small.pcapng"
    assert run(path, "--finding", number, "-o", plain).exit_code == 0
    done = run(path, "--finding", number, "--anonymize", "-o", small)
    assert done.exit_code == 0, done.output
    before, after = wiredoctor.analyze(plain), wiredoctor.analyze(small)
    assert [as_said(f) for f in after.findings] == [as_said(f) for f in before.findings] != []
    one, other = packets(plain), packets(small)
    assert [len(data) for _, data, _ in other] == [len(data) for _, data, _ in one]
    assert [time - other[0][0] for time, _, _ in other] == [time - one[0][0] for time, _, _ in one]
    raw = small.read_bytes()
    for row in before.connections.iter_rows(named=True):
        for endpoint in (row["client"], row["server"]):
            host = endpoint.rpartition(":")[0]
            assert ipaddress.ip_address(host).packed not in raw
            assert host.encode() not in raw
    for row in before.exchanges.iter_rows(named=True):
        for name in {row["request_host"], row["request_target"].partition("?")[0]} - {"", "/", "*", None}:
            assert name.encode() not in raw


def as_said(finding: Finding) -> tuple[object, ...]:
    return (
        *(finding.rule, finding.kind, finding.side, finding.severity, finding.confidence, finding.delay, finding.count),
        *(finding.status, finding.client_software, finding.server_software, [(e.frame, e.note) for e in finding.evidence]),
    )


@SLOW
def test_an_anonymous_one_as_tshark_reads_it(tmp_path: Path) -> None:
    skip_without("tshark")
    import subprocess

    path, small = find_recording("curl-in-parallel.pcap"), tmp_path / "small.pcapng"
    assert run(path, "--connection", "1", "--anonymize", "-o", small).exit_code == 0
    names = ("frame.time_relative", "frame.len", "tcp.seq_raw", "tcp.ack_raw", "tcp.options", "tcp.len", "http.response.code")
    checked = ("ip.checksum.status", "tcp.checksum.status", "http.transfer_encoding", "http.chunk_size", "_ws.malformed")
    fields = ["-T", "fields", "-o", "tcp.check_checksum:TRUE", *(word for name in (*names, *checked) for word in ("-e", name))]
    said = [
        subprocess.run(["tshark", "-n", "-r", str(file), *words, *fields], capture_output=True, check=True, timeout=60).stdout
        for file, words in ((path, ["-Y", "tcp.stream == 1"]), (small, []))
    ]
    times = [[float(line.split(b"\t")[0]) for line in lines.splitlines()] for lines in said]
    rest = [[line.split(b"\t")[1:] for line in lines.splitlines()] for lines in said]
    assert rest[0] == rest[1] != []
    assert [time - times[1][0] for time in times[1]] == pytest.approx([time - times[0][0] for time in times[0]], abs=1e-6)


@SLOW
def test_an_anonymous_one_that_cannot_be_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture that is too large, one in which something was found, one that shows something else, and one of fragments."""
    out = tmp_path / "x.pcapng"
    monkeypatch.setattr(limits.ANONYMIZED, "value", 1000)
    refused(run(SPLIT, "--connection", "0", "--anonymize", "-o", out), "in memory", out)
    monkeypatch.undo()
    monkeypatch.setattr(Addresses, "__call__", lambda _, address: address)
    refused(run(SPLIT, "--finding", "1", "--anonymize", "-o", out), "parts of the original", out)
    monkeypatch.undo()
    monkeypatch.setattr(Heads, "head", lambda _, data: b"x" * len(data))
    refused(run(SPLIT, "--finding", "1", "--anonymize", "-o", out), "without nagle-delayed-ack", out)
    monkeypatch.undo()
    fragments = tmp_path / "fragments.pcap"
    with SPLIT.open("rb") as whole, fragments.open("wb") as file:
        writer = dpkt.pcap.Writer(file, snaplen=1 << 18, linktype=101)
        for number, (time, data) in enumerate(dpkt.pcap.Reader(whole)):
            ip = data[14:]
            for part, place in ((ip[20:44], 0x2000), (ip[44:], 24 >> 3)):
                head = ip[:2] + struct.pack(">HHH", 20 + len(part), number, place) + ip[8:20]
                writer.writepkt(head + part, time)
    assert wiredoctor.analyze(fragments).connection_count == 1
    refused(run(fragments, "--connection", "0", "--anonymize", "-o", out), "(IP fragment)", out)


def test_no_half_of_a_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up; the line names the file that was asked for."""

    def full(_: BinaryIO, out: BinaryIO) -> None:
        out.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    out = tmp_path / "x.pcapng"
    refused(run(SPLIT, "--connection", "0", "--anonymize", "-o", out), f"wiredoctor: -o {out}: no space left on device", out)
    assert list(tmp_path.iterdir()) == []
    out.write_bytes(b"old")
    assert run(SPLIT, "--connection", "0", "--anonymize", "-o", out).exit_code == 2
    assert out.read_bytes() == b"old"


def refused(done: Result, said: str, out: Path) -> None:
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())
    assert not out.exists()
