"""Who stopped reading is named where the server then cut its response off, or where it left itself; a pace of its own is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ladders import ladders_in
from wiredoctor.testing import findings

STALLS = Path(__file__).parents[1] / "stalls"
LADDERS = {
    **dict(ladders_in(STALLS / "zero_window_stall.txt")),
    **dict(ladders_in(Path(__file__).with_name("truncated_response.txt"))),
    **dict(ladders_in(Path(__file__).with_name("no_response.txt"))),
}

LEAVES = "  1.540  >  R.\n"


@pytest.mark.parametrize(
    ("words", "rule", "causes"),
    [
        ("what its kernel held comes with the FIN", "truncated-response", ["zero-window-stall"]),
        ("no server gives up so soon", "truncated-response", []),
        ("the server broke off by itself", "truncated-response", []),
    ],
)
def test_causes(words: str, rule: str, causes: list[str]) -> None:
    [text] = [ladder for title, ladder in LADDERS.items() if words in title]
    [found] = [one for one in findings(text) if one.rule == rule]
    assert [cause.rule for cause in found.caused_by] == causes
    assert ("The client had not read for 3 s before that" in found.message) is bool(causes)


def test_a_client_that_leaves_a_download_at_its_own_pace() -> None:
    [text] = [ladder for title, ladder in LADDERS.items() if "reads a segment every 0.3 s" in title]
    cut = text[: text.index("  1.532  <")] + LEAVES
    told = {one.rule: one for one in findings(cut)}
    assert (told["zero-window-stall"].kind, told["client-abort"].caused_by) == ("own-pace", ())


@pytest.mark.parametrize(
    ("words", "side", "blamed"),
    [
        ("and its process is killed", "server", "For 2.68 s, the server's receive window had been closed"),
        ("then the client pauses in the middle of an upload", None, "the client or the path had stopped"),
    ],
)
def test_who_held_up_an_upload(words: str, side: str | None, blamed: str) -> None:
    [text] = [ladder for title, ladder in LADDERS.items() if words in title]
    [found] = [one for one in findings(text) if one.rule == "no-response"]
    assert (found.side, blamed in found.message) == (side, True)


def test_who_did_not_read_a_request() -> None:
    """A host that does not know the connection says nothing about a worker."""
    start = '  5.000  >  .    1:1 ack 1\n  5.001  >  P.   1:28 "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n" ack 1\n'
    [unknown] = findings(start + "  5.011  <  R    1:1\n")
    [unread] = findings(start + "  5.211  <  R.   1:1 ack 28\n")
    assert unknown.kind == unread.kind == "unread"
    assert ("NAT" in unknown.message, "worker" in unknown.message) == (True, False)
    assert ("NAT" in unread.message, "worker" in unread.message) == (False, True)
