"""Event tables: which packets of a conversation have a row, and which do not; the same in steps of any size."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.captures.papers import EACH_KIND
from tests.pipeline.feeding import WHOLE, tables
from tests.support.recordings import find_recording
from tests.support.sweeps import SLOW
from wiredoctor.rule_engine import catalogue
from wiredoctor.tables import EVENT_TABLES, RULE_TABLES
from wiredoctor.testing import capture

OPEN = """
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
"""
HEAD = '  0.022  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\n"\n'

COLUMNS = {
    "releases": ("frame", "sort", "previous_data_frame", "previous_ack_frame", "probe_frame"),
    "recoveries": ("frame", "stall_frame", "first_retransmission_frame", "retransmitted_frame", "retransmission_count"),
    "closures": ("frame", "closed_frame", "closed_window", "window_probes", "opened_frame"),
    "window_stalls": ("frame", "sort", "count", "start_frame", "copies", "sent_frame", "end_frame"),
    "runs": ("frame", "small_run", "small_run_frame", "message", "previous_data_message"),
    "unacknowledged": ("frame", "copies", "first_frame", "second_frame", "last_frame", "acknowledged_frame"),
    "transfers": ("frame", "first_frame", "length"),
}


Row = tuple[Any, ...]
Read = Callable[[str], dict[str, list[Row]]]


@pytest.fixture(params=[pytest.param((1,), id="by packet"), pytest.param((WHOLE, 1, 3), id="in any steps", marks=SLOW)])
def read(request: pytest.FixtureRequest, tmp_path: Path) -> Read:
    """Return the rows of each event table in a ladder, which are the same in steps of each size."""

    def read_in_steps(text: str) -> dict[str, list[Row]]:
        path = tmp_path / "ladder.pcap"
        path.write_bytes(capture(text))
        found = [tables(path, size, messages=False, all_segments=False) for size in request.param]
        assert all(one[name].equals(other[name]) for one, other in pairwise(found) for name in EVENT_TABLES)
        return {name: found[0][name].select(COLUMNS[name]).rows() for name in EVENT_TABLES}

    return read_in_steps


SPLIT = OPEN + HEAD + '  0.062  >  .    ack 39\n  0.072  <  P.   "hello"\n'
PROBE = OPEN + HEAD + '  0.242  <  P.   "hello"\n  0.242  >  .\n'
FULL = OPEN + '  0.022  <  .   "HTTP/1.1 200 OK\\r\\nContent-Length: 1425\\r\\n\\r\\n" + body*1419\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(SPLIT, [(7, "waited", 5, 6, 0)], id="waited: the ACK of the head was delayed"),
        pytest.param(SPLIT.replace("0.062", "0.022"), [(7, "prompt", 5, 6, 0)], id="prompt: that ACK came at once"),
        pytest.param(PROBE, [(6, "probe", 5, None, 0), (7, "answers_probe", 4, None, 6)], id="probe, and the ACK of both"),
        pytest.param(SPLIT.replace("0.062", "0.029"), [], id="neither delayed nor prompt"),
        pytest.param(SPLIT.replace("0.062", "0.540").replace("0.072", "0.550"), [], id="later than any delayed ACK"),
        pytest.param(SPLIT.replace("39\n", '39\n  0.063  >  P.   "x"\n'), [], id="the receiver sends data in between"),
        pytest.param(SPLIT.replace('"hello"', '40:44 "ello"'), [], id="bytes are missing before S"),
        pytest.param(SPLIT + '  0.500  <  P.   39:44 "hello"\n', [(7, "waited", 5, 6, 0)], id="sent again, it is not new"),
        pytest.param(PROBE.replace("0.242", "0.202"), [], id="sooner than a probe"),
        pytest.param(FULL + "  0.022  >  .\n  0.052  <  P.   body*6\n", [(7, "prompt", 5, 6, 0)], id="prompt, the end is late"),
        pytest.param(FULL + "  0.022  >  .\n  0.033  <  P.   body*6\n", [], id="prompt, and the end of a download in time"),
    ],
)
def test_releases(text: str, expected: list[Row], read: Read) -> None:
    assert read(text)["releases"] == expected


RESPONSE = '<  P.   1:44 "HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello"\n'
LOST = OPEN + f"  0.022  {RESPONSE}  0.232  {RESPONSE}  0.232  >  .    ack 44\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(LOST, [(7, 5, 6, 6, 1)], id="a timeout"),
        pytest.param(LOST.replace("  0.232  <", f"  0.132  {RESPONSE}  0.232  <", 1), [(8, 5, 6, 7, 2)], id="two tries"),
        pytest.param(LOST.replace("0.232", "0.162"), [], id="shorter than any stall that a rule looks for"),
        pytest.param(LOST.replace("  0.232  >  .    ack 44\n", ""), [], id="never acknowledged"),
        pytest.param(LOST.replace("  0.232  <", "  0.023  >  .    ack 44\n  0.232  <", 1), [], id="acknowledged before"),
    ],
)
def test_recoveries(text: str, expected: list[Row], read: Read) -> None:
    assert read(text)["recoveries"] == expected


LARGE = OPEN + '  0.022  <  .    "HTTP/1.1 200 OK\\r\\nContent-Length: 7240\\r\\n\\r\\n" + body*1419\n'
CLOSED = LARGE + "  0.022  >  .    win 0\n  0.322  >  .    win 64240\n  0.332  <  .    1461:2921(1460)\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(CLOSED, [(8, 6, 0, 0, 7)], id="a window of 0"),
        pytest.param(CLOSED + "  0.333  <  .    2921:4381(1460)\n", [(8, 6, 0, 0, 7)], id="the first segment only"),
        pytest.param(CLOSED.replace("win 0", "win 1459"), [(8, 6, 1459, 0, 7)], id="less than a segment"),
        pytest.param(CLOSED.replace("win 0", "win 1460"), [], id="room for a segment"),
        pytest.param(CLOSED.replace("0.322", "0.041"), [], id="shorter than any wait that a rule looks for"),
    ],
)
def test_closures(text: str, expected: list[Row], read: Read) -> None:
    assert read(text)["closures"] == expected


REFUSED = (
    LARGE
    + """\
  0.022  <  .    1461:2921(1460)
  0.022  >  .    ack 1461 win 0
  0.022  >  .    ack 1461 win 0
  0.232  <  .    1461:2921(1460)
  0.232  >  .    ack 1461 win 0
  0.322  >  .    ack 1461 win 64240
  0.652  <  .    1461:2921(1460)
  0.652  >  .    ack 2921
"""
)
SENT_AGAIN = ("0.232", "0.652")
ENDS = "  0.652  >  .    ack 2921\n"
PIECES = LARGE.replace("win 64240", "win 1460", 1) + "  0.022  >  .    ack 1461 win 600\n"
NEXT = "  {:.3f}  <  .    {}:{}(600)\n  {:.3f}  >  .    ack {} win 600\n"


def pieces(*waits: int) -> str:
    """Pieces that fill a window of 600 bytes, each so many milliseconds after the server got the ACK before."""
    text, time, end = PIECES, 22, 1461
    for wait in waits:
        time, end = time + 10 + wait, end + 600
        text += NEXT.format(time / 1000, end - 600, end, time / 1000, end)
    return text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(REFUSED, [(13, "refused", 1, 7, 1, 12, 13)], id="refused: until the ACK of a copy"),
        pytest.param(REFUSED.replace("0.652", "0.121").replace("0.322", "0.100").replace("0.232", "0.099"), [], id="99 ms"),
        pytest.param(
            REFUSED + "  3.000  >  .    ack 2921 win 64240\n  3.010  <  .    2921:4381(1460)\n",
            [(15, "refused", 1, 7, 1, 12, 13)],
            id="written when the sender goes on",
        ),
        pytest.param("".join(x for x in REFUSED.splitlines(True) if x[2:7] not in SENT_AGAIN) + ENDS, [], id="taken after all"),
        pytest.param(REFUSED.replace("win 0", "win 2920"), [], id="a loss: the window had room"),
        pytest.param(pieces(250, 250), [(10, "timer", 2, 6, 0, 7, 9)], id="timer: two waits in a row"),
        pytest.param(
            pieces(250, 0, 250) + "  3.000  <  .    3261:3861(600)\n", [(13, "timer", 2, 6, 0, 7, 11)], id="the sender goes on"
        ),
        pytest.param(pieces(250, 0, 250), [(12, "timer", 2, 6, 0, 7, 11)], id="one that did not wait among them"),
        pytest.param(pieces(250, *[0] * 101, 250), [(209, "timer", 1, 6, 0, 7, 7)], id="most do not wait", marks=SLOW),
        pytest.param(pieces(1_021), [], id="longer than an override timer"),
        pytest.param(pieces(1_020), [(8, "timer", 1, 6, 0, 7, 7)], id="as long as one"),
        pytest.param(PIECES + "  0.282  <  .    1461:2060(599)\n", [], id="less than the window has room for"),
        pytest.param(
            LARGE + "  0.022  >  .    win 0\n  0.322  <  .    1460:1460\n  0.322  >  .    win 0\n",
            [(8, "never_opened", 1, 6, 0, None, 8)],
            id="never opened",
        ),
        pytest.param(LARGE + "  0.022  >  .    win 0\n", [], id="closed at the end, and nothing shows that there was more"),
    ],
)
def test_window_stalls(text: str, expected: list[Row], read: Read) -> None:
    assert read(text)["window_stalls"] == expected


def crumbs(*lengths: int) -> str:
    """A response for each of these lengths of a body, pipelined: the head, then the body byte by byte, all within 1 ms each."""
    ask = '  0.032  >  P.   "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"\n' * (len(lengths) - 1)
    head = '  +0.001 <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: {}\\r\\n\\r\\n"\n'
    said = [head.format(length) + '  +0.001 <  P.   "x"\n' * length for length in lengths]
    return OPEN + ask + "  0.043  <  .\n" + "".join(said)


def test_runs(read: Read) -> None:
    """Segments from the eighth of a run on, and the first of another message within it: frames 6 to 15, 7 to 11 and 12 to 16."""
    assert read(crumbs(9))["runs"] == [(13, 8, 6, 1, 1), (14, 9, 6, 1, 1), (15, 10, 6, 1, 1)]
    assert read(crumbs(4, 4))["runs"] == [
        *((12, 6, 7, 3, 1), (14, 8, 7, 3, 3)),
        *((15, 9, 7, 3, 3), (16, 10, 7, 3, 3)),
    ]
    assert read(crumbs(6))["runs"] == []


REQUEST = '>  P.   1:28 "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"\n'
AGAIN = OPEN + f"  0.221  {REQUEST}  0.641  {REQUEST}"
AFTER_ACK = OPEN + "  0.022  <  .    ack 28\n" + f"  0.221  {REQUEST}  0.641  {REQUEST}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(AGAIN, [(6, 3, 4, 5, 6, None)], id="three copies, and the capture ends"),
        pytest.param(AGAIN.rpartition("  0.641")[0], [], id="two copies"),
        pytest.param(AGAIN + "  0.652  <  .    ack 28\n", [(7, 3, 4, 5, 6, 7)], id="acknowledged after all"),
        pytest.param(AGAIN + "  0.652  <  R.   1:1 ack 28\n", [(6, 3, 4, 5, 6, None)], id="an RST acknowledges nothing"),
        pytest.param(AFTER_ACK, [(7, 3, 4, 6, 7, None)], id="acknowledged before it came again"),
        pytest.param(AFTER_ACK + '  0.700  >  P.   "x"\n', [], id="and then something new"),
        pytest.param(AFTER_ACK + '  0.700  <  P.   "y"\n  0.700  >  .\n', [], id="and then an ACK of something new"),
    ],
)
def test_unacknowledged(text: str, expected: list[Row], read: Read) -> None:
    assert read(text)["unacknowledged"] == expected


def test_nothing_else_has_a_row(read: Read) -> None:
    """A plain exchange."""
    text = OPEN + '  0.022  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello"\n  0.022  >  .\n'
    assert read(text) == {name: [] for name in EVENT_TABLES}


@pytest.mark.parametrize("name", EVENT_TABLES)
def test_rules_read_every_column(name: str) -> None:
    """A column that no rule reads is not written, but for the direction, which says where the row belongs."""
    readers = [m for m in catalogue().values() if name in m.tables and set(m.tables) <= EVENT_TABLES.keys()]
    assert readers
    table = RULE_TABLES[name].empty()
    unread = [c for c in table.columns if all(_resolves(m, name, table.drop(c).lazy()) for m in readers)]
    assert set(unread) <= {"direction"}


def _resolves(module: Any, name: str, table: pl.LazyFrame) -> bool:
    try:
        module.find(*(table if one == name else RULE_TABLES[one].empty().lazy() for one in module.tables)).collect_schema()
    except pl.exceptions.ColumnNotFoundError:
        return False
    return True


@SLOW
def test_recordings_have_rows_of_every_kind() -> None:
    """What the ladders show is there in traffic, too."""
    seen: set[tuple[str, str]] = set()
    # one rule reads two of the tables, and is there once
    for path in (*EACH_KIND, find_recording("closed-window.pcap"), find_recording("window-of-1440-bytes.pcap")):
        for name, found in tables(path, messages=False, all_segments=False).items():
            if name in EVENT_TABLES and found.height:
                seen |= {(name, sort) for sort in (found["sort"].unique() if name == "releases" else [""])}
    sorts = {("releases", sort) for sort in ("waited", "prompt", "probe", "answers_probe")}
    assert seen == sorts | {(name, "") for name in EVENT_TABLES if name != "releases"}
