"""Conversations that were captured at several points, and given at once."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

import wiredoctor
from tests.captures.papers import ONE_EACH, PATHS
from wiredoctor.findings import Report
from wiredoctor.report.capture_points import SharedConversations, shared_conversations
from wiredoctor.report.formats import Options, write
from wiredoctor.report.terminal.terminal import Terminal
from wiredoctor.testing import capture

TALK = r"""
connection 1, start {start}, client {client}, server {server}
  0.000  >  S    win 64240 mss 1460
  0.040  <  S.   win 64240 mss 1460
  0.040  >  .
  0.041  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
  0.090  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  0.090  >  .
"""


def talk(start: float = 0.0, client: str = "10.0.0.1:40001", server: str = "10.0.0.2:80") -> str:
    return TALK.format(start=start, client=client, server=server)


def shared(folder: Path, *captures: bytes) -> SharedConversations:
    return shared_conversations(report_of(folder, *captures))


def report_of(folder: Path, *captures: bytes) -> Report:
    paths = [folder / f"{name}.pcap" for name in "qwxyz"[: len(captures)]]
    for path, one in zip(paths, captures, strict=True):
        path.write_bytes(one)
    return wiredoctor.analyze(*paths)


def test_both_ends_and_the_middle(tmp_path: Path) -> None:
    points = [capture(talk(), at=at) for at in ("client", "middle", "server")]
    assert shared(tmp_path, *points) == (1, 3)
    assert shared(tmp_path, *points[:2]) == (1, 2)


def test_clocks_may_differ_by_seconds(tmp_path: Path) -> None:
    assert shared(tmp_path, capture(talk()), capture(talk(start=20.0))) == (1, 2)


def test_captures_of_any_year(tmp_path: Path) -> None:
    """The section of a pcapng file may move its packets beyond 2262, where nanoseconds exceed 64 bits."""
    report = report_of(tmp_path, capture(talk()), capture(talk()), capture(talk()))
    times = ("2300-01-31T12:00:00.000000000Z", "2300-01-31T12:00:01.000000000Z", "2026-01-31T12:00:01.000000000Z")
    report.captures = [one._replace(first_time=time) for one, time in zip(report.captures, times, strict=True)]
    assert shared_conversations(report) == (1, 2)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(talk(start=100.0), id="the ports were used again later"),
        pytest.param(talk(client="10.0.0.1:40002"), id="another port"),
        pytest.param(talk(server="10.0.0.3:80"), id="another server"),
        pytest.param(talk(start=20.0).replace("/a", "/ab"), id="other bytes at another time"),
    ],
)
def test_others_are_not_the_same(tmp_path: Path, other: str) -> None:
    begun = "connection 9, start 0, client 10.0.0.8:1, server 10.0.0.9:9\n  0.0  >  S\n"
    assert shared(tmp_path, capture(begun + talk()), capture(begun.replace(".8:", ".7:") + other)) == (0, 0)


POLLED = "connection 1, start {start}\n" + "".join(
    rf"""
  {5 * n}.001  >  P.   "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
  {5 * n}.011  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  {5 * n}.012  >  .
"""
    for n in range(5)
)


def test_files_that_follow_each_other_contain_different_parts_of_a_connection(tmp_path: Path) -> None:
    """A connection with a request every 5 s; each file has five of them, so only their times differ."""
    files = [capture(POLLED.format(start=start)) for start in (0, 25)]
    assert shared(tmp_path, *files) == (0, 0)
    assert shared(tmp_path, *files[:1] * 2) == (1, 2)


def test_loopback_addresses_are_those_of_each_host(tmp_path: Path) -> None:
    ends = {"client": "127.0.0.1:40001", "server": "127.0.0.1:80"}
    assert shared(tmp_path, capture(talk(**ends)), capture(talk(**ends).replace("/a", "/ab"))) == (0, 0)


def test_one_capture_shares_nothing(tmp_path: Path) -> None:
    assert shared(tmp_path, capture(talk())) == (0, 0)


def test_every_format_for_people_and_json_say_so(tmp_path: Path) -> None:
    report = report_of(tmp_path, capture(talk(), at="client"), capture(talk(), at="server"))
    for name in ("text", "markdown", "html"):
        out = io.BytesIO()
        write(report, name, out, Options())
        said = " ".join(out.getvalue().decode().split())
        assert "1 conversation was captured at 2 points: its requests and problems count once per point." in said
    out = io.BytesIO()
    write(report, "json", out, Options())
    assert json.loads(out.getvalue())["summary"]["shared_conversations"] == 1


@pytest.mark.slow
def test_recordings_of_different_conversations_share_none() -> None:
    """Names of recordings end with their point, so that those of ONE_EACH are of different conversations."""
    assert len(ONE_EACH) < len(PATHS)
    assert shared_conversations(wiredoctor.analyze(*map(str, ONE_EACH), select=["capture-loss"])) == (0, 0)


def test_a_quiet_report_without_problems_does_not_mention_them(tmp_path: Path) -> None:
    report = report_of(tmp_path, capture(talk(), at="client"), capture(talk(), at="server"))
    for name in ("text", "markdown"):
        out = io.BytesIO()
        write(report, name, out, Options(quiet=True))
        assert out.getvalue() == b""


@pytest.mark.parametrize("form", ["text", "markdown", "concise", "junit", "sarif"])
def test_every_format_of_people_says_that_conversations_were_captured_again(tmp_path: Path, form: str) -> None:
    one = report_of(tmp_path, *(capture(talk(), at=at) for at in ("client", "server")))
    out = io.BytesIO()
    write(one, form, out, Options(paper=Terminal(200)))
    assert "1 conversation was captured at 2 points" in " ".join(out.getvalue().decode().split())
