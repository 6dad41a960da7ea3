"""Where steps end must not matter: the tables that rules see, and the report, are the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.captures.papers import EACH_RULE, ONE_EACH, read
from tests.ladders import ladder_packets, to_pcap
from tests.pipeline import feeding
from tests.pipeline.feeding import random_cuts, report, tables
from tests.pipeline.ladders import FILES, ends, together
from tests.support.sweeps import FORMS, sweep
from wiredoctor.tables import AT_ITS_END

if TYPE_CHECKING:
    import polars as pl

SHORT = 200
"""Packets up to which a capture, every other of them, is fed packet by packet."""

CUT_AT_RANDOM = [path for path in ONE_EACH if read(path).packets > SHORT]
LONG = pytest.mark.parametrize("path", sweep(CUT_AT_RANDOM, EACH_RULE[::2].__contains__), ids=lambda path: path.stem)


def assert_same(expected: dict[str, pl.DataFrame], seen: dict[str, pl.DataFrame]) -> None:
    """Check that every table has the same rows."""
    for name, frame in expected.items():
        other = seen[name]
        assert other.height == frame.height, name
        differ = [c for c in frame.columns if not frame[c].equals(other[c], null_equal=True)]
        assert differ == [], [(c, frame[c].to_list(), other[c].to_list()) for c in differ[:2]]


@FORMS
@pytest.mark.parametrize("path", sweep(ONE_EACH, EACH_RULE[::8].__contains__), ids=lambda path: path.stem)
def test_tables_of_captures(path: Path) -> None:
    """In steps of seven or, every other short one, packet by packet; and with the table of messages."""
    whole, detailed = tables(path, messages=False), tables(path)
    assert AT_ITS_END.of(whole["exchanges"]).equals(whole["finished"])
    assert_same({name: frame for name, frame in whole.items() if name != "messages"}, detailed)
    if read(path).packets > SHORT or path in ONE_EACH[::2]:
        assert_same(detailed, tables(path, 7))
    else:
        assert_same(whole, tables(path, 1, messages=False))


SOME = sorted({*ONE_EACH[::4], *EACH_RULE[1::6]})
"""For reports, which follow from the tables of all."""


@FORMS
@pytest.mark.parametrize("path", sweep(SOME, EACH_RULE[1::12].__contains__), ids=lambda path: path.stem)
def test_reports_of_captures(path: Path) -> None:
    assert report(path, 7) == report(path)


@FORMS
@LONG
def test_random_cuts(path: Path) -> None:
    packets, whole = read(path).packets, tables(path, messages=False)
    for seed in range(6):
        assert_same(whole, tables(path, random_cuts(packets, seed), messages=False))


@FORMS
@LONG
def test_random_cuts_of_the_report(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = report(path)
    for seed in range(3):
        with monkeypatch.context() as patch:
            feeding.cut_everything(patch, random_cuts(read(path).packets, seed))
            assert report(path) == expected


@FORMS
@pytest.mark.parametrize("file", sweep(FILES, FILES[::28].__contains__), ids=lambda file: file.stem)
def test_ladders(file: Path, tmp_path: Path) -> None:
    """In steps of up to two packets of each connection; the rules' own tests feed them in steps of one."""
    path = tmp_path / "ladders.pcap"
    packets = together(file)
    path.write_bytes(to_pcap(packets))
    expected = tables(path, messages=False)
    assert_same(expected, tables(path, ends(packets, 2), messages=False))
    assert_same(expected, tables(path, 9, messages=False))


STRANGE = {
    "bytes of no message that overtake each other": """
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   1:1461
  0.012  >  P.   1461:1462
  0.013  >  P.   1463:1464
  0.0131 >  P.   1462:1463
  0.014  >  P.   1464:1465
  0.015  >  P.   x*1460
  0.025  <  .
""",
    "a response in two segments is the first that is understood, and nobody knows who the client is": """
  0.0010 >  P.   "Content-Length: 0\\r\\n\\r\\n"
  0.0020 >  P.   x*3
  0.0520 >  P.   "HTTP/1.1 200 OK\\r\\n"
  0.0523 >  P.   "\\r\\n"
  0.0526 <  P.   "G"
""",
    "the final response is whole before the request is, twice": """
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "POST /u HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 5\\r\\n\\r\\n"
  0.022  <  P.   "HTTP/1.1 401 No\\r\\nContent-Length: 2\\r\\n\\r\\nno"
  0.422  >  P.   "hello"
  0.433  <  .
  0.511  >  P.   "POST /u HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 5\\r\\n\\r\\n"
  0.522  <  P.   "HTTP/1.1 401 No\\r\\nContent-Length: 2\\r\\n\\r\\nno"
  0.922  >  P.   "hello"
  0.933  <  .
  1.000  >  P.   "GET /u HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  1.011  <  .
  1.100  <  P.   "HTTP/1.1 401 No\\r\\nContent-Length: 2\\r\\n\\r\\nno"
  1.100  >  .
""",
    "the client goes on with its request when the server has long closed": """
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "POST /u HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 10\\r\\n\\r\\nhello"
  0.022  <  F.   "HTTP/1.1 413 No\\r\\nContent-Length: 2\\r\\n\\r\\nno"
  3.000  >  P.   "world"
  3.011  >  P.   "GET /b HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  9.000  >  F.
  connection 2, start 2
  0.000  >  S    win 64240 mss 1460
  5.000  <  S.   win 64240 mss 1460
  5.000  >  .
""",
    "a half-close, the answer much later, and a reset that refuses it": """
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  FP.  "GET /a HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  3.000  <  FP.  "HTTP/1.1 200 OK\\r\\nContent-Length: 9\\r\\n\\r\\nok"
  3.500  >  R.
  connection 2, start 2
  0.000  >  S    win 64240 mss 1460
  5.000  <  S.   win 64240 mss 1460
  5.000  >  .
""",
}


@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE)
def test_strange_conversations(text: str, tmp_path: Path) -> None:
    path = tmp_path / "strange.pcap"
    path.write_bytes(to_pcap(ladder_packets(text)))
    expected = tables(path, messages=False)
    for step in range(1, 6):
        assert_same(expected, tables(path, step, messages=False))
