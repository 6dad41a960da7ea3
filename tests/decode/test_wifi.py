"""What Wi-Fi alone has; tests/decode/test_headers.py goes every way of `wifi.WAYS`."""

from __future__ import annotations

from tests.decode.decoding import decoded, payloads
from tests.decode.packets import Record, tcp
from tests.decode.wifi import AGGREGATE, QOS, SNAP, frame, radiotap, subframe


def test_an_aggregate_gives_its_first_frame_and_a_limit() -> None:
    records = [Record(frame(subframe() + subframe(SNAP.replace(b"hello", b"later")), 0x88, extra=AGGREGATE), 105)]
    answer = decoded(records)
    assert payloads(records, answer) == [b"hello"]
    assert list(answer[2].limits) == ["aggregate"]


def test_one_frame_in_an_aggregate_is_no_limit() -> None:
    assert not decoded([Record(frame(subframe(), 0x88, extra=AGGREGATE) + b"fcs.", 105)])[2].limits


def test_last_fragments_are_no_packets() -> None:
    rows, _, state = decoded([Record(frame(sequence=0x11), 105)])
    assert not len(rows["frame"])
    assert dict(state.not_analysed) == {"IEEE 802.11 fragment": 1}


def test_cut_anywhere() -> None:
    """16 bytes of a TCP header make a row, whatever stands in front."""
    whole = frame(kind=0x88, flags=0x03, extra=b"\x33" * 6 + b"\0\0")
    enough = len(whole) - len(tcp(b"hello")) + 16
    rows, _, state = decoded([Record(whole[:size], 105, len(whole)) for size in range(len(whole))])
    assert rows["frame"].tolist() == list(range(enough + 1, len(whole) + 1))
    assert set(state.not_analysed) == {"link header cut short", "IP header cut short", "TCP header cut short"}


def test_addresses_tell_copies_apart() -> None:
    """A frame to the access point and the same packet from it to a station."""
    rows, _, _ = decoded(
        [Record(frame(), 105), Record(frame().replace(b"\1\2\3\4\5\6", b"\x77" * 6, 1), 105), Record(frame(), 105)]
    )
    first, second, third = rows["link_hash"].tolist()
    assert first == third != second


def test_what_has_no_data_is_counted() -> None:
    frames = [b"\x80\0" + bytes(40), b"\xd4\0" + bytes(8), frame(kind=0xC8, extra=QOS), frame(flags=0x41)]
    _, _, state = decoded([Record(f, 105) for f in frames] + [Record(radiotap(f), 127) for f in frames])
    assert sorted(state.not_analysed.values()) == [2, 2, 2, 2]
