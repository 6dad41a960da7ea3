"""Second copies of a packet, as mirror ports and several interfaces make them (rules.md, duplicate-packets)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.decode import udp as udps
from tests.decode.packets import ethernet, ipv4
from tests.decode.udp import udp, vxlan
from tests.ladders import Packet, ladder_packets
from tests.tcp.seeing import HANDSHAKE, Seen, see, see_packets
from wiredoctor.testing.wire import frame_bytes, to_pcap

DATA = "0.030 > P. 1:101(100) ack 1 id 7\n"


def left_out(seen: Seen) -> int:
    return seen.connection["duplicates"]


def again(text: str, after_us: int, **changes: Any) -> Seen:
    """The conversation, and its last packet once more so many microseconds later, with these changes."""
    packets = ladder_packets(HANDSHAKE + text)
    last = packets[-1]
    second = replace(last, time=last.time + after_us * 1000, **{"ip_id": last.ip_id or 5, **changes})
    return see_packets([*packets[:-1], replace(last, ip_id=last.ip_id or 5), second])


@pytest.mark.parametrize("after_us", [0, 1, 1_500, 99_000, 100_000])
def test_another_ttl_within_100_ms(after_us: int) -> None:
    seen = again(DATA, after_us, ttl=63)
    assert left_out(seen) == 1
    assert seen.column("frame") == [1, 2, 3, 4]
    assert seen.frames("retransmission") == []
    assert (seen.connection["packets"], seen.connection["client_bytes"]) == (4, 100)


def test_another_ttl_later_is_a_retransmission() -> None:
    seen = again(DATA, 100_001, ttl=63)
    assert left_out(seen) == 0
    assert seen.frames("retransmission") == [5]


@pytest.mark.parametrize(("after_us", "copies"), [(0, 1), (999, 1), (1_000, 1), (1_001, 0), (50_000, 0)])
def test_the_same_in_every_layer_within_1_ms(after_us: int, copies: int) -> None:
    seen = again(DATA, after_us)
    assert left_out(seen) == copies
    assert seen.frames("retransmission") == [5][: 1 - copies]


@pytest.mark.parametrize(
    "changes",
    [{"ip_id": 8}, {"window": 59999}, {"flags": 0x10}, {"payload": b"y" * 100}, {"timestamps": True}, {"ack": 0}],
    ids=str,
)
def test_another_packet_at_once_is_no_copy(changes: dict[str, Any]) -> None:
    seen = again(DATA, 100, ttl=63, **changes)
    assert left_out(seen) == 0
    assert seen.frames("retransmission") == [5]


def with_other_macs(packets: list[Packet], which: int) -> bytes:
    """The capture, where the packet of this index has other link-layer addresses."""
    file = to_pcap(packets)
    at = 24 + sum(16 + len(frame_bytes(p, i)) for i, p in enumerate(packets[:which])) + 16
    return file[:at] + b"\x02\0\0\0\0\x09\x02\0\0\0\0\x08" + file[at + 12 :]


def test_other_link_addresses() -> None:
    packets = ladder_packets(HANDSHAKE + DATA + DATA.replace("0.030", "0.050"))
    assert left_out(see_packets(with_other_macs(packets, 4))) == 1
    assert left_out(see_packets(with_other_macs(packets, 3))) == 1
    assert left_out(see_packets(packets)) == 0


def test_ipv6_has_no_id() -> None:
    peers = "connection 1, client [2001:db8::1]:4000, server [2001:db8::2]:80\n"
    copy = "0.031 > P. 1:101(100) ack 1 ttl 63\n"
    assert left_out(see(peers + HANDSHAKE + DATA + copy)) == 1


def test_every_packet_twice() -> None:
    """A mirror port that sees the way in and the way out of a router."""
    talk = HANDSHAKE + DATA + "0.041 < P. 1:31(30) ack 101\n0.052 > . ack 31\n0.053 > F. 101:101 ack 31\n0.063 < F. 31:31 ack 102"
    once = ladder_packets(talk)
    twice: list[Packet] = []
    for i, packet in enumerate(once):
        first = replace(packet, ip_id=100 + i)
        twice += [first, replace(first, time=first.time + 20_000, ttl=63)]
    seen = see_packets(twice)
    assert left_out(seen) == len(once)
    assert seen.column("frame") == list(range(1, 2 * len(once), 2))
    assert seen.column("time") == [p.time for p in once]
    assert seen.frames("retransmission") == seen.frames("duplicate_ack") == []
    assert seen.connection["history"] == "ShADdFf"


def test_a_third_copy() -> None:
    """The second is found by the first, the third by the second: each at most 1 ms later."""
    seen = see(HANDSHAKE + DATA + DATA.replace("0.030", "0.0308") + DATA.replace("0.030", "0.0316"))
    assert left_out(seen) == 2


def test_a_copy_may_overtake_the_next_packet() -> None:
    seen = see(
        HANDSHAKE
        + DATA
        + "0.0301 > P. 101:201(100) ack 1 id 8\n"
        + DATA.replace("0.030", "0.0302").replace("id 7", "id 7 ttl 63")
    )
    assert left_out(seen) == 1
    assert seen.column("frame") == [1, 2, 3, 4, 5]


ACK = "0.041 < . ack 101 id 9"


def test_pure_acks_that_look_alike_are_duplicate_acks() -> None:
    """Without time stamps, two ACKs of one sender may well be equal: rules.md asks for more."""
    seen = again(DATA + "0.031 > P. 201:301(100) ack 1\n" + ACK, 100)
    assert left_out(seen) == 0
    assert seen.frames("duplicate_ack") == [7]


def test_pure_acks_with_another_ttl_are_copies() -> None:
    seen = again(DATA + "0.031 > P. 201:301(100) ack 1\n" + ACK, 100, ttl=63)
    assert left_out(seen) == 1
    assert seen.frames("duplicate_ack") == []


def test_pure_acks_with_time_stamps_within_1_ms_are_copies() -> None:
    assert left_out(again(DATA + ACK + " ts", 100)) == 1
    assert left_out(again(DATA + ACK + " ts", 0, ttl=63)) == 1


@pytest.mark.parametrize(("after_us", "changes", "copies"), [(900, {}, 2), (1_100, {}, 1), (900, {"ip_id": 10}, 1)])
def test_pure_acks_once_data_came_twice(after_us: int, changes: dict[str, Any], copies: int) -> None:
    copy = DATA.replace("0.030", "0.0301")
    assert left_out(again(DATA + copy + ACK, after_us, **changes)) == copies


def test_pure_acks_without_an_id_stay() -> None:
    copy = DATA.replace("0.030", "0.0301")
    packets = ladder_packets(HANDSHAKE + DATA + copy + ACK.replace("id 9", "id 0"))
    second = replace(packets[-1], time=packets[-1].time + 100_000)
    assert left_out(see_packets([*packets, second])) == 1


def test_new_data_with_the_same_bytes_is_no_copy() -> None:
    seen = see(HANDSHAKE + DATA + "0.0301 > P. 101:201(100) ack 1 id 7")
    assert left_out(seen) == 0
    assert seen.connection["client_bytes"] == 200


@pytest.mark.parametrize(
    ("second", "way"),
    [
        pytest.param("", 0, id="alike"),
        pytest.param(" ttl 63", 3, id="behind a router"),
    ],
)
def test_the_first_second_copy_is_remembered(second: str, way: int) -> None:
    text = HANDSHAKE + '0.030 > P. "hello" id 9\n0.0305 > P. 1:6 "hello" id 9' + second + '\n0.040 > P. "x" id 10\n'
    c = see(text + '0.0405 > P. 6:7 "x" id 10 ttl 62\n').connection
    assert (c["duplicates"], c["duplicate_frame"], c["duplicate_first_frame"], c["duplicate_difference"]) == (2, 5, 4, way)


@pytest.mark.parametrize(
    ("again", "way"),
    [
        pytest.param(lambda frame: ethernet(ipv4(udp(vxlan(frame), udps.VXLAN), 17)), 4, id="inside and outside of a tunnel"),
        pytest.param(lambda frame: b"\3" * 12 + frame[12:], 2, id="between other addresses"),
        pytest.param(bytes, 0, id="alike"),
    ],
)
def test_how_the_second_copy_differs(again: Callable[[bytes], bytes], way: int) -> None:
    data = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)
    for number, packet in enumerate(ladder_packets(HANDSHAKE + DATA)):
        frame = frame_bytes(packet, number + 1)
        for late, copy in enumerate((frame, again(frame))):
            data += struct.pack("<IIII", 1, packet.time + late * 1000, len(copy), len(copy)) + copy
    assert see_packets(data).connection["duplicate_difference"] == way


@pytest.mark.parametrize(("number", "ttl", "copies"), [(0, 64, 0), (0, 63, 1), (7, 64, 1)])
def test_resets_may_be_alike(number: int, ttl: int, copies: int) -> None:
    """Linux sends an RST for each packet that comes for a closed socket, all with the identification 0."""
    text = f"0.030 > R 1:1 id {number}\n0.0301 > R 1:1 id {number} ttl {ttl}\n"
    assert left_out(see(HANDSHAKE + text)) == copies


def test_a_copy_of_an_absurd_acknowledgement() -> None:
    """It claims no more than the first one did, however absurd that was."""
    seen = again("0.030 < . ack 2000000001 id 7\n", 100, ttl=63)
    assert left_out(seen) == 1


def test_a_syn_ack_by_a_timer_and_one_that_answers_a_repeated_syn_are_two() -> None:
    """Linux sends both at once, alike in every field, if its first SYN-ACK was lost and its timer is as long as the client's."""
    answer = "< S. win 65160 mss 1460 id 5\n"
    syn = "> S win 64240 mss 1460\n"
    seen = see(f"0.000 {syn}0.010 {answer}1.0100 {answer}1.0101 {syn}1.0102 {answer}")
    assert left_out(seen) == 0
    twice = see(f"0.000 {syn}0.010 {answer}1.0100 {answer}1.0101 {answer}")
    assert left_out(twice) == 1


QUEUED = "0.030 > P. 1:101(100) ack 1 id 7 ts\n1.000 > P. 101:201(100) ack 1 id 8 ts"


def behind_a_router(second_after: int, changes: dict[str, Any], *, at_first: bool = True) -> Seen:
    """Two segments on a router that forwards the first one at once, and the second one so many milliseconds later."""
    packets = ladder_packets(HANDSHAKE + QUEUED)
    first, last = packets[-2:]
    forwarded = [replace(first, time=first.time + 1_000_000, ttl=63)] if at_first else []
    late = replace(last, time=last.time + second_after * 1_000_000, **{"ttl": 63, "left": last.left, **changes})
    return see_packets([*packets[:-1], *forwarded, last, late])


@pytest.mark.parametrize(("after_ms", "copies"), [(101, 2), (700, 2), (10_000, 2), (10_001, 1)])
def test_a_packet_before_and_behind_a_queue(after_ms: int, copies: int) -> None:
    seen = behind_a_router(after_ms, {})
    assert left_out(seen) == copies
    assert seen.frames("retransmission") == [7][: 2 - copies]


@pytest.mark.parametrize(
    "changes", [{"ip_id": 9}, {"ip_id": 0}, {"left": 1_300_000_000}, {"ttl": 64}, {"timestamps": False}], ids=str
)
def test_what_comes_so_late_with_anything_else_is_sent_again(changes: dict[str, Any]) -> None:
    seen = behind_a_router(300, changes)
    assert left_out(seen) == 1
    assert seen.frames("retransmission") == [7]


def test_a_connection_that_shows_no_router_has_no_queue() -> None:
    seen = behind_a_router(300, {}, at_first=False)
    assert left_out(seen) == 0
    assert seen.frames("retransmission") == [6]


@pytest.mark.parametrize(
    ("after_ms", "changes", "copies"),
    [
        (300, {}, 1), (300, {"ttl": 64}, 0), (300, {"ip_id": 9}, 0), (1_000, {"left": 1_000_000_000, "ip_id": 9}, 0),
        (300, {"timestamps": False}, 0), (10_001, {}, 0),
    ],
)  # fmt: skip
def test_a_syn_behind_a_queue(after_ms: int, changes: dict[str, Any], copies: int) -> None:
    [syn] = ladder_packets("0 > S win 64240 mss 1460 id 7 ts")
    again = replace(syn, time=after_ms * 1_000_000, **{"ttl": 63, **changes})
    for others in ([], other_connection()):
        seen = see_packets([*others, syn, again])
        found = seen.connections[-1]
        assert (found["duplicates"], found["syns"]) == (copies, 2 - copies)


def other_connection() -> list[Packet]:
    """A connection that has shown the router before: then packets are remembered for longer."""
    [data] = ladder_packets("connection 2\n0 > P. 1:101(100) id 7 ts")
    return [data, replace(data, ttl=63)]
