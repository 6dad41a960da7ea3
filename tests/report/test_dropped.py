"""Packets that were dropped while capturing: each report begins with them, and nothing that they may explain is certain."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from typer.testing import CliRunner

import wiredoctor
from tests.capture import files
from tests.ladders import ladder_packets, to_pcap
from tests.live.playing import pcapng
from tests.support.recordings import find_recording
from wiredoctor.cli.app import application
from wiredoctor.findings import Report

HELD_BACK, HEALTHY = "client-sees-head-body-split.pcapng", "nginx-requests.pcapng"


def statistics(dropped: int, comment: bytes = b"", received: int | None = None) -> bytes:
    options = b"" if received is None else files.option("<", 4, struct.pack("<Q", received))
    options += files.option("<", 5, struct.pack("<Q", dropped))
    return files.block("<", 5, bytes(12) + options + (files.option("<", 1, comment) if comment else b"") + bytes(4))


def without_statistics(content: bytes) -> bytes:
    """The recordings are dumpcap's, which ends with the statistics of its interface: nothing was dropped there."""
    kept, at = b"", 0
    while at < len(content):
        kind, length = struct.unpack_from("<II", content, at)
        kept += content[at : at + length] if kind != 5 else b""
        at += length
    return kept


def with_drops(folder: Path, name: str, *blocks: bytes) -> Path:
    path = folder / name
    path.write_bytes(without_statistics(find_recording(name).read_bytes()) + b"".join(blocks))
    return path


def analyze(path: Path, *words: str) -> str:
    done = CliRunner().invoke(application(["analyze"]), ["analyze", str(path), *words])
    assert done.exit_code in (0, 1), done.stderr
    return done.stdout


def about(report: Report) -> list[tuple[str, str | None, str]]:
    return [(f.rule, f.kind, f.confidence) for f in report.findings]


def test_what_rests_on_a_pause_is_less_sure(tmp_path: Path) -> None:
    """Nine segments were held back: from the second on that is certain, unless packets are missing."""
    whole = wiredoctor.analyze(with_drops(tmp_path, HELD_BACK))
    assert {f.confidence for f in whole.findings} == {"high", "medium"}
    lossy = wiredoctor.analyze(with_drops(tmp_path, HELD_BACK, statistics(7)))
    assert [(f.rule, f.kind, f.delay, f.evidence) for f in lossy.findings if f.family != "capture"] == [
        (f.rule, f.kind, f.delay, f.evidence) for f in whole.findings
    ]
    assert {f.confidence for f in lossy.findings if f.family != "capture"} == {"medium"}
    assert ("capture-loss", "dropped", "high") in about(lossy)


def test_only_in_that_time(tmp_path: Path) -> None:
    """The recorder says when it had counted less: what was found before is as sure as it was."""
    whole = wiredoctor.analyze(with_drops(tmp_path, HELD_BACK))
    times = sorted(f.elapsed for f in whole.findings)
    table = whole.scan_captures().collect()
    since = int(table["first_time"][0]) + int((times[-2] + 0.005) * 1e9)
    lossy = wiredoctor.analyze(with_drops(tmp_path, HELD_BACK, statistics(7, b"dropped after %d ns since 1970" % since)))
    confidences = {f.elapsed: f.confidence for f in lossy.findings if f.family != "capture"}
    assert confidences[times[-1]] == "medium"
    assert {time: confidence for time, confidence in confidences.items() if time < times[-2]} == {
        f.elapsed: f.confidence for f in whole.findings if f.elapsed < times[-2]
    }


LINGERS = """
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  0.022  <  P.   "HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: 2\\r\\n\\r\\nok"
  0.022  >  .
"""
CLOSED = "  9.000  <  F.\n  9.000  >  F.\n"
NEXT = "  connection 2, start 12\n  0.000  >  S    win 64240 mss 1460\n"


@pytest.mark.parametrize(
    ("ladder", "dropped", "expected"),
    [
        pytest.param(LINGERS + NEXT, False, ["high"], id="nobody closed"),
        pytest.param(LINGERS + NEXT, True, [], id="the close may have been dropped"),
        pytest.param(LINGERS + CLOSED + NEXT, True, ["medium"], id="it came too late, whatever was dropped"),
    ],
)
def test_a_close_that_is_not_there_proves_nothing_where_packets_were_dropped(
    ladder: str, dropped: bool, expected: list[str], tmp_path: Path
) -> None:
    """The server had said Connection: close."""
    (tmp_path / "a.pcap").write_bytes(to_pcap(ladder_packets(ladder)))
    pcapng(tmp_path / "a.pcap", tmp_path / "a.pcapng")
    with (tmp_path / "a.pcapng").open("ab") as file:
        file.write(statistics(7) if dropped else b"")
    report = wiredoctor.analyze(tmp_path / "a.pcapng")
    assert [f.confidence for f in report.findings if f.rule == "lingering-close"] == expected
    assert ("capture-loss", "dropped", "high") in about(report) or not dropped


def test_what_is_there_is_as_sure_as_before(tmp_path: Path) -> None:
    """Text of a response is there whatever else was dropped."""
    path = find_recording("bare-line-feeds.pcap")
    converted = tmp_path / "a.pcapng"
    report = wiredoctor.analyze(path)
    write_pcapng(path, converted, statistics(3))
    lossy = wiredoctor.analyze(converted)
    assert any(f.family == "framing" for f in report.findings)
    assert [one for one in about(lossy) if one[1] != "dropped"] == about(report)


def write_pcapng(path: Path, to: Path, *blocks: bytes) -> None:
    """A pcap file of the usual byte order as pcapng."""
    content, at = path.read_bytes(), 24
    assert content.startswith(b"\xd4\xc3\xb2\xa1")
    made = files.section("<") + files.interface("<", struct.unpack_from("<I", content, 20)[0])
    while at < len(content):
        seconds, micro, captured, length = struct.unpack_from("<IIII", content, at)
        packet = files.Packet(seconds * 1_000_000 + micro, content[at + 16 : at + 16 + captured], length)
        made += files.enhanced("<", packet)
        at += 16 + captured
    to.write_bytes(made + b"".join(blocks))


@pytest.mark.parametrize("form", ["text", "markdown", "html"])
def test_each_report_begins_with_it(form: str, tmp_path: Path) -> None:
    path = with_drops(tmp_path, HEALTHY, statistics(16_354))
    packets = wiredoctor.analyze(path, select=["capture-loss"]).captures[0].packets
    if form == "html":
        page = tmp_path / "page.html"
        analyze(path, "-o", str(page))
        text = page.read_text()
    else:
        text = analyze(path, "--format", form)
    said = " ".join(text.partition("<body")[2].split() if form == "html" else text.split())
    sentence = f"16,354 of {16_354 + packets:,} packets were dropped while"
    assert sentence in said
    assert said.index(sentence) < said.index("1 warning")
    assert "Nothing wrong was found" not in said


def test_machines_are_told(tmp_path: Path) -> None:
    path = with_drops(tmp_path, HEALTHY, statistics(5))
    report = json.loads(analyze(path, "--format", "json"))
    assert report["captures"][0]["dropped"] == 5
    assert "capture-loss" not in report["summary"]["healthy"]
    assert json.loads(analyze(find_recording(HEALTHY), "--format", "json"))["captures"][0]["dropped"] == 0
    assert json.loads(analyze(find_recording("cut-off.pcap"), "--format", "json"))["captures"][0]["dropped"] is None


def test_a_healthy_capture_without_drops_stays_healthy(tmp_path: Path) -> None:
    for blocks in ([], [statistics(0)]):
        report = wiredoctor.analyze(with_drops(tmp_path, HEALTHY, *blocks))
        assert report.findings == wiredoctor.analyze(find_recording(HEALTHY)).findings
    lossy = analyze(with_drops(tmp_path, HEALTHY, statistics(1)), "--ignore", "capture-loss")
    assert "Nothing wrong was found" not in lossy
    assert "1 of" in lossy
    assert "were dropped while" in " ".join(lossy.split())


def test_a_part_of_a_capture_says_what_the_whole_lacks(tmp_path: Path) -> None:
    """The part may lack packets, too, so findings in it are as uncertain as in the whole capture."""
    path = with_drops(tmp_path, HELD_BACK, statistics(7))
    part = tmp_path / "part.pcapng"
    done = CliRunner().invoke(application(["extract"]), ["extract", str(path), "--connection", "0", "-o", str(part)])
    assert done.exit_code == 0, done.stderr
    assert wiredoctor.analyze(part).captures[0].dropped == 7


def test_a_part_whose_statistics_are_those_of_the_whole(tmp_path: Path) -> None:
    """Wireshark copies them when it exports some packets."""
    report = wiredoctor.analyze(with_drops(tmp_path, HEALTHY, statistics(757, received=9_361)))
    [loss] = [f for f in report.findings if f.kind == "dropped"]
    assert "757 of 10,118 packets" in loss.title
    assert f"This file has {report.captures[0].packets:,} of the 9,361 packets that the program processed" in loss.message
