"""Faults of framing and of grammar: none where nothing is wrong, the same however bytes arrive, and never an exception."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from tests.http.conversations import TRAPS, Flight, conversation, duplicated, packets, shuffled
from tests.http.talk import HANDSHAKE
from tests.ladders import ladder_packets, to_pcap
from tests.pipeline.feeding import WHOLE, tables
from tests.support.sweeps import SLOW, examples
from wiredoctor.protocols.http1.fault_words import KINDS, framing_lines
from wiredoctor.protocols.http1.head import HeadParser, find_head_end

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.ladders import Packet

SEEDS = st.integers(0, 2**32)
FEW = settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
INSERTED = (b"x", b"\r\n", b" ", b"\n", b"\0", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 3\r\n", b"GET ", b"HTTP/1.1 ")


def faults(folder: Path, sent: Sequence[Packet], epoch: int = WHOLE) -> pl.DataFrame:
    path = folder / "x.pcap"
    path.write_bytes(to_pcap(sent))
    return tables(path, epoch, messages=False)["faults"]


@SLOW
@given(SEEDS)
@FEW
def test_none_in_a_valid_conversation_cut_anywhere(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    _, flights = conversation(random)
    sent = packets(flights, handshake=random.random() < 0.8, closing=random.choice([None, 0, 1]))
    assert faults(tmp_path, sent, random.choice([WHOLE, 1, 2, 5])).is_empty()


@given(SEEDS)
@FEW
def test_none_in_what_was_shuffled_repeated_or_cut_off(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    _, flights = conversation(random)
    sent = duplicated(shuffled(packets(flights), random), random)
    assert faults(tmp_path, sent[: random.randrange(1, len(sent) + 1)]).is_empty()


@given(SEEDS)
@FEW
def test_none_where_the_capture_begins_later(tmp_path: Path, seed: int) -> None:
    """What is left of the first message of a side is not judged, whatever its body looks like."""
    random = Random(seed)
    _, flights = conversation(random)
    sent = packets(flights, handshake=False)[random.randrange(3 * len(flights)) :]
    # a head that is whole is believed, even the first of all
    first = [b"".join(p.payload for p in sent if p.side == side).lstrip() for side in (0, 1)]
    assume(not first[0].startswith(TRAPS[1]) and not first[1].startswith(TRAPS[0]))
    # also if it consists of a trap that the line of a chunk divides
    divided = ((first[0], TRAPS[0], b"HTTP/1.1 "), (first[1], TRAPS[1], b"GET "))
    assume(not any(rest.startswith(begin) and not rest.startswith(trap) for rest, trap, begin in divided))
    assert faults(tmp_path, sent).is_empty()


@SLOW
@given(SEEDS, st.sampled_from([1, 2, 7]))
@FEW
def test_the_same_wherever_epochs_end(tmp_path: Path, seed: int, epoch: int) -> None:
    random = Random(seed)
    _, flights = conversation(random)
    broken = [Flight(flight.side, damaged(flight.data, random), flight.cuts) for flight in flights]
    sent = packets(broken, closing=random.choice([None, 0, 1]))
    whole, cut = faults(tmp_path, sent), faults(tmp_path, sent, epoch)
    assert cut.to_dicts() == whole.to_dicts()


def damaged(data: bytes, random: Random) -> bytes:
    """The bytes with a few of them changed, missing or too many."""
    changed = bytearray(data)
    for _ in range(random.randrange(3)):
        place = random.randrange(len(changed) + 1)
        how = random.randrange(3)
        changed[place : place + (how < 2)] = (b"", random.randbytes(1), random.choice(INSERTED))[how]
    return bytes(changed)


LINE = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [b"Host: a", b"Content-Length: 5", b"Content-Length: x", b"X : y", b" folded", b"\tfolded", b"Server\t: z", b""]
    ),
    st.builds(lambda name, value: name + b": " + value, st.sampled_from([b"Server", b"X-A"]), st.binary(max_size=6)),
)


@given(st.lists(LINE, max_size=6), st.sampled_from([b"\r\n", b"\n"]), st.booleans())
@settings(max_examples=examples(300), deadline=None)
@example([b"X : y", b" folded"], b"\r\n", True)
@example([b"Server: x", b"", b"Content-Length: x"], b"\n", False)
@example([b" \x00"], b"\r\n", True)
@example([b"Server: x", b" \x00"], b"\n", False)
@example([b"warning", b" a: b"], b"\r\n", True)
@example([b":", b": a"], b"\r\n", False)
def test_grammar_against_a_twin(lines: list[bytes], end: bytes, response: bool) -> None:
    """Line by line with regular expressions; read twice, because lines are remembered."""
    start = b"HTTP/1.1 200 OK" if response else b"GET / HTTP/1.1"
    head = b"\r\n".join([start, *lines]) + end + b"\r\n"
    # an empty line ends a head: what is behind it never comes here, and is no line without a colon
    head = head[: find_head_end(head)]
    parser = HeadParser()
    for _ in range(2):
        parsed = parser.response(head) if response else parser.request(head)
        assert parsed is not None
        said = {kind for bit, kind in KINDS.items() if parsed[1].malformed & bit}
        said -= {"content-length", "length-twice", "length-list"}
        assert said == twin(head)


def twin(head: bytes) -> set[str]:
    """What is wrong with a head whose start line is right, but for Content-Length."""
    found: set[str] = set()
    if re.search(rb"(?<!\r)\n", head):
        found.add("bare-lf")
    parts = re.split(rb"\r?\n" if found else rb"\r\n", head)
    while len(parts) > 1 and not parts[-1]:
        parts.pop()
    if any(re.search(rb"[\x00-\x08\x0b-\x1f\x7f\n]", part) for part in parts):
        found.add("control-byte")
    whole: list[bytes] = []
    for part in parts[1:]:
        if not part.startswith((b" ", b"\t")):
            whole.append(part)
            continue
        found.add("folding")
        if whole:
            whole[-1] += b" " + part.strip(b" \t")
    if any(re.match(rb"[^:]*[ \t]:", line, re.DOTALL) for line in whole):
        found.add("space-before-colon")
    if any(b":" not in line for line in whole):
        found.add("no-colon")
    for sent in (line.partition(b":")[0] for line in whole if b":" in line):
        name = re.sub(rb"[\x00-\x08\x0a-\x1f\x7f]", b"", sent).strip(b" \t")
        if not name and not sent.endswith((b" ", b"\t")):
            found.add("empty-name")
        elif re.search(rb"[ \t]", name):
            found.add("space-in-name")
        elif re.search(rb"[\x80-\xff]", name):
            found.add("eight-bit-name")
        elif re.search(rb'["(),/;<=>?@\[\\\]{}]', name):
            found.add("name-character")
    return found


HELLO = r'"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhello"'


def test_what_a_row_says(tmp_path: Path) -> None:
    talk = rf"""
        0.020 > P. "GET /a HTTP/1.1\r\n\r\n"
        0.040 < P. {HELLO}
    """
    [row] = faults(tmp_path, ladder_packets(HANDSHAKE + talk)).to_dicts()
    assert row == {
        "connection": 0, "exchange": 0, "role": 1, "fault": "excess-body", "frame": 5, "time": 40_000_000,
        "offset": len(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhel"), "excerpt": "xx", "message_frame": 5,
        "message_time": 40_000_000, "version": "HTTP/1.1", "status": 200, "body_due": 3, "request_frame": 4,
        "request_time": 20_000_000, "request_method": "GET", "request_version": "HTTP/1.1", "handshake": True,
        "data_in_both_directions": True, "after_gap": False, "request_connection_close": False,
        "announces_close": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (r"X-Secret : abc", "X-Secret"),
        (r"X-Secret: a\x00c", "X-Secret"),
        (r"X-Secret: abc\r\n def", "X-Secret"),
    ],
)
def test_values_of_fields_are_not_shown(tmp_path: Path, line: str, shown: str) -> None:
    talk = rf"""
        0.020 > P. "GET /a HTTP/1.1\r\n{line}\r\n\r\n"
        0.040 < P. "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    """
    assert faults(tmp_path, ladder_packets(HANDSHAKE + talk))["excerpt"].to_list() == [shown]


def test_letters_of_invalid_names_are_not_shown(tmp_path: Path) -> None:
    talk = r"""
        0.020 > P. "GET /a HTTP/1.1\r\nse cret(1): a\x00c\r\n\r\n"
        0.040 < P. "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    """
    shown = faults(tmp_path, ladder_packets(HANDSHAKE + talk)).select("fault", "excerpt").rows()
    assert shown == [("control-byte", "a line without a name"), ("space-in-name", "xx xxxx(x):")]


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        ("Transfer-Encoding: x chunked", "Transfer-Encoding: x chunked"),
        ("Transfer-Encoding: chunked, " + 6 * "a1B2c3", "Transfer-Encoding: chunked, (masked)"),
        ("Content-Length: 34( 68)", "Content-Length: 34( 68)"),
    ],
)
def test_framing_fields_show_what_is_no_token(field: str, shown: str) -> None:
    """The proof of a framing fault is the field itself. What looks like a token is masked, and a mask is never cut."""
    assert framing_lines(f"HTTP/1.1 200 OK\r\n{field}\r\n\r\n".encode()) == shown


def test_at_most_so_many_bytes_are_shown(tmp_path: Path) -> None:
    talk = rf"""
        0.020 > P. "GET /a HTTP/1.1\r\n\r\n"
        0.040 < P. {HELLO} + z*5000
    """
    assert [len(text) for text in faults(tmp_path, ladder_packets(HANDSHAKE + talk))["excerpt"]] == [32]


@pytest.mark.parametrize(
    "fields", ["", "Content-Length: 1\\r\\n", "Transfer-Encoding: chunked\\r\\n"], ids=["no-framing", "excess", "chunks"]
)
def test_what_a_client_sent_is_not_shown(tmp_path: Path, fields: str) -> None:
    """A form whose framing is broken may hold a password."""
    text = f"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "POST / HTTP/1.1\\r\\nHost: a\\r\\n{fields}\\r\\n"
  0.012  >  P.   "&password=hunter2"
  0.023  <  P.   "HTTP/1.1 400 No\\r\\nContent-Length: 0\\r\\n\\r\\n"
"""
    found = faults(tmp_path, ladder_packets(text))
    assert found.height == 1
    assert set(found["excerpt"].item()) <= set("&x=")
