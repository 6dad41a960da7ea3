"""Ladders show the packets that tshark sees, with the notes of the findings, and say how many they leave out."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from io import StringIO

import pytest

import wiredoctor
from tests.support.needs import needs
from tests.support.recordings import find_recording
from wiredoctor.findings import Report
from wiredoctor.report.ladder.build import MAX_STEPS, NO_PACKETS, Ladder, of_connection, of_findings
from wiredoctor.report.ladder.draw_text import write_ladder
from wiredoctor.report.ladder.load import NOT_KEPT
from wiredoctor.report.terminal.terminal import Terminal, TerminalWriter

BITS = ((0x02, "SYN"), (0x01, "FIN"), (0x04, "RST"), (0x08, "PSH"), (0x20, "URG"), (0x40, "ECE"), (0x80, "CWR"), (0x10, "ACK"))


def kept(stem: str) -> Report:
    return wiredoctor.analyze(find_recording(f"{stem}.pcap"), keep=True)


@pytest.fixture(scope="module")
def stalled() -> Report:
    """A client that sends head and body in two writes (captures/client-split-200-ms.toml)."""
    return kept("client-split-200-ms-client")


@pytest.fixture(scope="module")
def lazy() -> Report:
    """352 packets on one connection, whose receiver closes its window (captures/lazy-server-snapped.toml)."""
    return kept("lazy-server-snapped-client")


def drawn(ladder: Ladder, width: int = 100, *, unicode: bool = False) -> str:
    out = StringIO()
    write_ladder(TerminalWriter(out, Terminal(width, unicode=unicode)), ladder)
    return out.getvalue()


@needs("tshark")
def test_a_whole_connection_is_what_tshark_sees(lazy: Report) -> None:
    fields = ("frame.number", "frame.time_relative", "tcp.flags", "tcp.len", "tcp.srcport")
    command = ["tshark", "-r", lazy.captures[0].file, "-Y", "tcp.stream == 0", "-T", "fields"]
    seen = subprocess.run([*command, *(f"-e{f}" for f in fields)], capture_output=True, text=True, check=True).stdout
    ladder = of_connection(lazy, lazy.captures[0].file, 0, most=1000)
    port = ladder.client.rpartition(":")[2]
    expected = [
        (int(frame), round(float(time) * 1e6), " ".join(n for b, n in BITS if int(bits, 16) & b), int(length), source == port)
        for frame, time, bits, length, source in map(str.split, seen.splitlines())
    ]
    assert [(s.frame, round(s.elapsed * 1e6), s.flags, s.length, s.from_client) for s in ladder.steps] == expected
    assert ladder.left_out == 0
    assert not any(step.before.left_out for step in ladder.steps)


def test_a_finding_shows_its_proof_and_its_request(stalled: Report) -> None:
    finding = stalled.findings[0]
    (ladder,) = of_findings(stalled, [finding])
    assert {step.frame: "; ".join(step.notes) for step in ladder.steps if step.evidence} == {
        e.frame: e.note for e in finding.evidence
    }
    assert ladder.steps[0].text == "POST /order, head (66 bytes)"
    assert [step.text.partition(",")[0] for step in ladder.steps] == ["POST /order", "ACK of 66 bytes", "body", "200 OK"]
    lost = [step.before for step in ladder.steps if step.before.of_finding]
    assert [(round(wait.seconds or 0, 3), wait.waited_for) for wait in lost] == [(0.201, "server")]


@pytest.mark.parametrize("most", [MAX_STEPS, 12])
def test_what_is_left_out_is_counted(lazy: Report, most: int) -> None:
    for ladder in (of_connection(lazy, lazy.captures[0].file, 0, most=most), of_findings(lazy, lazy.findings, most)[0]):
        assert 3 < len(ladder.steps) <= most
        hidden = sum(step.before.left_out or 0 for step in ladder.steps) + (ladder.left_out or 0)
        assert len(ladder.steps) + hidden == lazy.captures[0].packets == 352


def test_the_proof_is_shown_before_all_else(lazy: Report) -> None:
    frames = {e.frame for e in lazy.findings[0].evidence}
    (ladder,) = of_findings(lazy, lazy.findings[:1], len(frames))
    assert {step.frame for step in ladder.steps} == frames


def test_a_range_is_shown(lazy: Report) -> None:
    file = lazy.captures[0].file
    ladder = of_connection(lazy, file, 0, frames=(127, 133))
    assert [step.frame for step in ladder.steps] == [*range(127, 134)]
    assert (ladder.steps[0].before.left_out, ladder.left_out) == (126, 352 - 133)
    first, last = ladder.steps[0].elapsed, ladder.steps[-1].elapsed
    assert of_connection(lazy, file, 0, span=(first, last)).steps == ladder.steps
    assert not of_connection(lazy, file, 0, frames=(400, 500)).steps


def test_epochs_change_nothing(lazy: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    file = lazy.captures[0].file
    whole = (of_connection(lazy, file, 0), of_findings(lazy, lazy.findings))
    monkeypatch.setattr("wiredoctor.engine.second_pass.STEP", 7)
    assert (of_connection(lazy, file, 0), of_findings(lazy, lazy.findings)) == whole


def test_a_finding_about_no_connection_has_those_of_its_proof() -> None:
    report = kept("used-once-rtt-120-server")
    (ladder,) = of_findings(report, [f for f in report.findings if f.connection is None])
    assert ladder.connections == (0, 1, 2)
    assert all(step.evidence for step in ladder.steps)
    assert not any(step.before.waited_for or step.before.idle for step in ladder.steps)
    assert ladder.client == "10.9.0.1"
    assert "connection 2" in drawn(ladder)


def test_why_there_is_none_is_said(stalled: Report) -> None:
    other = wiredoctor.analyze(stalled.captures[0].file)
    assert {ladder.missing for ladder in of_findings(other, other.findings)} == {NOT_KEPT}
    assert of_connection(stalled, stalled.captures[0].file, 7).missing == "the connection does not exist"
    foreign = replace(stalled.findings[0], connection=None, evidence=())
    assert of_findings(stalled, [foreign])[0].missing != NO_PACKETS
    assert "No packets to show: " in drawn(of_findings(other, other.findings)[0])


@pytest.mark.parametrize("width", [60, 80, 160])
@pytest.mark.parametrize("unicode", [False, True])
def test_drawings_fit(lazy: Report, width: int, unicode: bool) -> None:
    lines = drawn(of_findings(lazy, lazy.findings)[0], width, unicode=unicode).splitlines()
    assert max(map(len, lines)) <= width
    assert unicode or all(line.isascii() for line in lines)


def test_the_longest_wait_is_the_longest_bar(lazy: Report) -> None:
    ladder = of_findings(lazy, lazy.findings)[0]
    bars = {line.split("|")[1].strip(): line.count("=") for line in drawn(ladder).splitlines() if line.endswith(" sends")}
    longest = max((s.before for s in ladder.steps if s.before.waited_for), key=lambda wait: wait.seconds or 0)
    assert max(bars, key=lambda text: bars[text]) == f"{(longest.seconds or 0) * 1000:.0f} ms"
    assert bars["440 ms"] / bars["835 ms"] == pytest.approx(440 / 835, abs=0.05)
