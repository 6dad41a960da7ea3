"""wiredoctor compare: words, formats, exit codes, and the keys that its page names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.compare.recordings import Packet, read, write
from tests.compare.test_proxies import answer, get, said
from tests.support.recordings import CAPTURES, find_recording
from tests.support.sweeps import SLOW
from wiredoctor.cli.app import application
from wiredoctor.compare.before_after import result as before_after
from wiredoctor.compare.proxy import result as proxy
from wiredoctor.compare.two_points import result as two_points

NAGLE, FIXED = find_recording("client-body-pieces.pcap"), find_recording("client-two-sends-nodelay.pcap")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "pages" / "compare.md"


@pytest.fixture(scope="module")
def run() -> Callable[..., Result]:
    app = application(["compare"])
    return lambda *words: CliRunner().invoke(app, ["compare", *map(str, words)])


def test_a_report_with_a_byte_order_mark(run: Callable[..., Result], tmp_path: Path) -> None:
    """As programs of Windows write JSON."""
    plain, marked = tmp_path / "plain.json", tmp_path / "marked.json"
    plain.write_text("{}")
    marked.write_bytes(b"\xef\xbb\xbf{}")
    failed = [run(NAGLE, one).stderr.replace(one.name, "") for one in (plain, marked)]
    assert failed[0] == failed[1]
    assert "not a packet capture" not in failed[0]


@SLOW
def test_before_and_after(run: Callable[..., Result], tmp_path: Path) -> None:
    folder = tmp_path / "after [x]"
    folder.mkdir()
    (folder / "a b.pcap").write_bytes(FIXED.read_bytes())
    files = [tmp_path / name for name in ("c.json", "c.md", "c.txt")]
    options = [word for file in files for word in ("-o", file)]
    result = run(NAGLE, folder, "--any-server", "--format", "json", "--fail-on", "new", *options)
    assert (result.exit_code, result.stderr) == (0, "")
    told = json.loads(result.stdout)
    assert [(f["status"], f["rule"], f["before"], f["after"]) for f in told["findings"]] == [("fixed", "nagle-delayed-ack", 9, 0)]
    assert json.loads(files[0].read_text()) == told
    assert all("1 problem fixed" in file.read_text() for file in files[1:])
    back = run(folder, NAGLE, "--any-server", "--fail-on", "new", "--quiet")
    assert back.exit_code == 1
    assert "What was compared" not in back.stdout
    assert run(folder, NAGLE, "--any-server", "--fail-on", "slower").exit_code == 0


def test_two_points(run: Callable[..., Result], tmp_path: Path) -> None:
    points = [find_recording(f"lost-response-{point}.pcap") for point in ("client", "server")]
    result = run("--both-sides", *points, "-f", "json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert (told["comparison"], [p["frame"] for p in told["packets"]]) == ("two-points", [9])
    assert "1 packet was lost" in run("--both-sides", *points).stdout
    assert run("--both-sides", *points, "-f", "markdown").stdout.startswith("## wiredoctor: 1 packet was lost")


def test_a_proxy_is_recognised(run: Callable[..., Result], tmp_path: Path) -> None:
    packets = read(find_recording("haproxy-uvicorn-rtt-20-client.pcap"))

    def side(number: int) -> list[Packet]:
        return [p for p in packets if (b"\x00\x50" in (p[1][34:36], p[1][36:38])) == (number == 0)]

    paths = [write(tmp_path / f"{number}.pcap", side(number)) for number in (0, 1)]
    result = run("--both-sides", *paths, "-f", "json")
    assert (result.exit_code, json.loads(result.stdout)["comparison"]) == (0, "proxy")
    asked = run("--both-sides", "--proxy", *paths)
    assert asked.exit_code == 0
    assert asked.stdout.startswith("8 exchanges went through the proxy")
    one = run("--both-sides", "--proxy", find_recording("haproxy-uvicorn-rtt-20-client.pcap"), "-f", "json")
    assert json.loads(one.stdout)["matched"] == 8


@pytest.mark.parametrize(
    "names",
    [
        # recorded at different times, of the same method and target
        ("lost-response-client", "split-rtt-120-server"),
        ("race-client", "forgotten"),
        ("lost-request-client", "lost-twice-server"),
        ("one-send-rtt-120-client", "three-writes-rtt-120-server"),
    ],
)
def test_no_proxy_is_made_up(run: Callable[..., Result], names: tuple[str, str]) -> None:
    told = run("--both-sides", *(find_recording(f"{name}.pcap") for name in names))
    assert (told.exit_code, told.stdout.splitlines()[0]) == (0, "No packet passed both points.")


def test_unrelated_requests_at_the_same_time_are_no_proxy(run: Callable[..., Result], tmp_path: Path) -> None:
    """Two monitors ask for the same every tenth of a second: with some clock they lie within each other, with their own not."""
    paths: list[Path] = []
    for number, (ahead, lasts) in enumerate(((0.0, 0.010), (0.050, 0.005))):
        lines: list[tuple[float, bool, bytes]] = []
        for n in range(30):
            begin = 1 + n / 10 + ahead
            lines += [(begin, False, get("/health")), (begin + lasts, True, answer(200))]
        paths.append(write(tmp_path / f"{number}.pcap", said(1000 + number, f"10.{number + 1}.0.1", lines)))
    assert run("--both-sides", *paths).stdout.startswith("No packet passed both points.")


@pytest.mark.parametrize("names", [("split-rtt-20-client", "split-rtt-20-server"), ("lost-response-client",) * 2])
def test_a_wire_is_no_proxy(run: Callable[..., Result], names: tuple[str, str]) -> None:
    result = run("--both-sides", "--proxy", *(find_recording(f"{name}.pcap") for name in names))
    assert (result.exit_code, "two points of one path" in result.stderr) == (2, True)


def test_what_passed_both_is_one_side_of_the_proxy(run: Callable[..., Result], tmp_path: Path) -> None:
    """The recording before the proxy has both of its sides, that behind it the back alone."""
    both = find_recording("haproxy-uvicorn-rtt-20-client.pcap")
    back = [p for p in read(both) if b"\x1f\x91" in (p[1][34:36], p[1][36:38])]
    result = run("--both-sides", "--proxy", both, write(tmp_path / "back.pcap", back), "-f", "json")
    told = json.loads(result.stdout)
    assert (told["matched"], told["own"], told["unasked"]) == (8, 0, 0)
    # eight requests on one connection behind it: all but the first go over a used one
    assert told["reused"] == 7
    assert told["front"]["servers"] == ["10.9.0.2:80"]
    assert all(e["request_lag"] >= 0 and e["response_lag"] >= 0 for e in told["exchanges"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([NAGLE], "compare takes BEFORE and AFTER; 1 given"),
        (["--both-sides", NAGLE], "compare takes CLIENT and SERVER; 1 given"),
        (["--both-sides", "--proxy", NAGLE, NAGLE, NAGLE], "FRONT and BACK"),
        (["--proxy", NAGLE, FIXED], "--proxy needs --both-sides"),
        (["--both-sides", NAGLE, FIXED, "--fail-on", "new"], "--fail-on cannot be combined with --both-sides"),
        (["--both-sides", NAGLE, CAPTURES], "one per point"),
        (
            ["--both-sides", "--proxy", NAGLE, find_recording("unauthorized-closes.pcap")],
            "no exchange was captured on both sides",
        ),
        (["-", "-"], "standard input"),
        ([NAGLE, "/nowhere.pcap"], "/nowhere.pcap"),
        ([NAGLE, PAGE], "compare.md"),
        ([NAGLE, FIXED, "-o", "x.sarif"], "must be one of .json, .md, .txt, .html\n"),
        ([NAGLE, FIXED, "-o", "x.doc"], "must be one of .json, .md, .txt, .html\n"),
        ([NAGLE, FIXED, "-o", "x/"], "must be one of .json, .md, .txt, .html\n"),
        ([NAGLE, FIXED, "-o", "."], "is a directory\n"),
        ([NAGLE, FIXED, "-o", NAGLE], "suffix"),
        ([NAGLE, FIXED, "--tolerance", "-1"], ""),
    ],
)
def test_what_cannot_be_compared(run: Callable[..., Result], words: list[Any], message: str, tmp_path: Path) -> None:
    if CAPTURES in words:
        for name in ("a.pcap", "b.pcap"):
            (tmp_path / name).write_bytes(FIXED.read_bytes())
        words = [tmp_path if word == CAPTURES else word for word in words]
    result = run(*words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_report_is_no_capture(run: Callable[..., Result], tmp_path: Path) -> None:
    wrong, report = tmp_path / "wrong.json", tmp_path / "report.json"
    wrong.write_text('{"a": 1}')
    report.write_text('{"summary": {}}')
    assert "not a wiredoctor report" in run(NAGLE, wrong).stderr
    assert "compares packets" in run("--both-sides", NAGLE, report).stderr


@pytest.mark.parametrize(
    ("heading", "classes"),
    [
        (
            "JSON of before and after",
            (before_after.Changes, before_after.FindingChange, before_after.EndpointChange, before_after.RuleChange),
        ),
        ("JSON of before and after", (before_after.Source, before_after.Shift, before_after.Spread)),
        (
            "JSON of two points",
            (
                two_points.TwoPoints,
                two_points.ComparedFile,
                two_points.Clock,
                two_points.Step,
                two_points.Way,
                two_points.Delays,
                two_points.OneSided,
            ),
        ),
        ("JSON of two points", (two_points.Changed, two_points.Shares, two_points.SideFinding, two_points.Waiting)),
        ("JSON of a proxy", (proxy.Proxied, proxy.Side, proxy.Rewritten, proxy.OwnAnswer)),
    ],
)
def test_the_page_names_every_key(heading: str, classes: tuple[Any, ...]) -> None:
    part = PAGE.read_text("utf-8").partition(f"### {heading}\n")[2].partition("\n#")[0]
    named = set(re.findall(r"`([a-z0-9_]+)`", part)) | {"version"}
    written = [(c, f.name) for c in classes for f in fields(c) if not f.metadata.get("private")]
    assert [f"{c.__name__}.{name}" for c, name in written if name not in named] == []


def test_one_request_is_not_some_of_them(run: Callable[..., Result]) -> None:
    one = run("--both-sides", "--proxy", find_recording("behind-nginx-deaf.pcap")).stdout
    assert "1 request forwarded, not over a reused connection." in one
