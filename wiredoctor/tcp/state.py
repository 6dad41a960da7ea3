"""What TCP analysis remembers between epochs: arrays with a slot per connection, and two (a direction each) per connection.

An epoch reads and writes only the slots that it touches, so its cost follows its packets and not the number of open
connections. Index of a direction: 2 * slot + direction, where direction 0 is the side whose packet was seen first.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from wiredoctor.cutoffs import ALL_SEGMENTS, Cutoffs
from wiredoctor.limits import Met
from wiredoctor.tables import NEVER, NONE, Array

if TYPE_CHECKING:
    from wiredoctor.tcp.closures import Closure
    from wiredoctor.tcp.recovery import Stall

LETTERS = "SHADFRGTW"
"""History letters in the order of the columns of `TcpState.letters`; tables.CONNECTIONS says what they mean."""

FAR = 1 << 62
"""Longer than any time: what a minimum begins with."""

_CONNECTION: dict[str, tuple[str, int]] = {
    "id": ("i8", NEVER),
    "swapped": ("?", 0),  # the first packet came from the greater of the two endpoints
    "ip_version": ("u1", 0),
    "bucket": ("u1", 0),  # part of the connections, by a hash
    "client_direction": ("i1", NONE),
    "role_rank": ("i1", 0),  # 3 SYN, 2 SYN-ACK, 1 HTTP head, 0 ports and order
    "syn_frame": ("i8", NEVER),  # the first SYN, and the first SYN-ACK: from there on the role is known
    "answer_frame": ("i8", NEVER),
    "answered": ("i1", NONE),  # direction of the side that the SYN-ACK went to
    "syns": ("i4", 0),  # SYNs of the client before it acknowledged an answer
    "syn_time": ("i8", NEVER),  # the first three of them, and the newest
    "second_syn_time": ("i8", NEVER),
    "second_syn_frame": ("i8", NEVER),
    "third_syn_time": ("i8", NEVER),
    "last_syn_frame": ("i8", NEVER),
    "last_syn_time": ("i8", NEVER),
    "syn_extras": ("?", 0),  # the first one asked for ECN or carried data; the newest one did
    "last_syn_extras": ("?", 0),
    "first_answer_frame": ("i8", NEVER),  # first and newest SYN-ACK before the client acknowledged one
    "first_answer_time": ("i8", NEVER),
    "newest_answer_frame": ("i8", NEVER),
    "newest_answer_time": ("i8", NEVER),
    "answered_syn_frame": ("i8", NEVER),  # the SYN before that newest SYN-ACK
    "answered_syn_time": ("i8", NEVER),
    "answered_syn_extras": ("?", 0),
    "refused_frame": ("i8", NEVER),  # the first RST that answered a SYN
    "refused_time": ("i8", NEVER),
    "replaced_at": ("i8", NEVER),  # watermark at the packet that used the ports for a new connection
    "first_frame": ("i8", NEVER),
    "last_frame": ("i8", NEVER),
    "first_time": ("i8", NEVER),
    "last_time": ("i8", NEVER),
    "last_clock": ("i8", NEVER),  # watermark at the last packet
    "closed": ("?", 0),  # both FINs or an RST were seen
    "duplicates": ("i8", 0),
    "duplicated_data": ("?", 0),
    "duplicate_frame": ("i8", NEVER),  # the first second copy, the first copy, and what tells them apart
    "duplicate_time": ("i8", NEVER),
    "duplicate_first_frame": ("i8", NEVER),
    "duplicate_way": ("i1", NONE),
    "conflicts": ("i8", 0),  # packets that contradict what was sent before
    "conflict_frame": ("i8", NEVER),
    "conflict_time": ("i8", NEVER),
    "conflict_first_frame": ("i8", NEVER),
    "unseen_places": ("i8", 0),
    "unseen_frame": ("i8", NEVER),
    "unseen_time": ("i8", NEVER),
    "handshake_frame": ("i8", NEVER),  # frame of the SYN or SYN-ACK that came second
    "progress_frame": ("i8", NEVER),  # the newest packet with new data, or an ACK that advances
    "progress_time": ("i8", NEVER),
    "last_ip_id": ("i4", NONE),  # of the newest packet
    "last_options": ("u8", 0),
    "last_direction": ("i1", NONE),
    "super_segments": ("i8", 0),  # segments longer than their receiver takes
    "super_frame": ("i8", NEVER),
    "super_time": ("i8", NEVER),
    "super_mss": ("i4", NONE),
}

_DIRECTION: dict[str, tuple[str, int]] = {
    "address_high": ("u8", 0),
    "address_low": ("u8", 0),
    "port": ("u2", 0),
    "base": ("u4", 0),  # initial sequence number
    "base_set": ("?", 0),
    "seq_raw": ("u4", 0),  # the newest sequence number and its stream offset
    "seq_offset": ("i8", NEVER),
    "ack_raw": ("u4", 0),
    "ack_offset": ("i8", NEVER),
    "seq_jump_raw": ("u4", 0),  # a number far from all others, which counts once the next one agrees
    "seq_jump_offset": ("i8", NEVER),
    "ack_jump_raw": ("u4", 0),
    "ack_jump_offset": ("i8", NEVER),
    "high": ("i8", NEVER),  # highest stream offset that this side is known to have sent
    "reached": ("i8", NEVER),  # highest stream offset of its own packets, pure ACKs included
    "claimed": ("i8", NEVER),  # highest offset of the other side's stream in any of its ACKs, the absurd ones included
    "acknowledged": ("i8", NEVER),  # highest offset of the other side's stream that this side has acknowledged
    "syn_seen": ("?", 0),
    "syn_frame": ("i8", NEVER),  # the first SYN or SYN-ACK of this side
    "syn_again": ("?", 0),
    "syn_time": ("i8", NEVER),
    "syn_mss": ("i4", NONE),
    "syn_shift": ("i1", NONE),
    "syn_timestamps": ("?", 0),
    "edge": ("i8", NEVER),  # right edge of the window that this side announced last
    "window": ("i4", NONE),  # header field of that announcement
    "rtt": ("i8", NEVER),
    "rtt_guessed": ("?", 0),  # by the newest of several SYNs
    "data_rtt": ("i8", FAR),  # the same without the handshake, where a SYN was repeated
    "timestamps": ("?", 0),
    "packets": ("i8", 0),
    "bytes": ("i8", 0),
    "unseen_bytes": ("i8", 0),
    "ordinal": ("i8", 0),  # number of segments that raised `high`
    "first_frame": ("i8", NEVER),
    "last_frame": ("i8", NEVER),
    "payload_frame": ("i8", NEVER),
    "retransmission_frame": ("i8", NEVER),
    "short_frame": ("i8", NEVER),  # last time this side announced no room for a full segment
    "data_frame": ("i8", NEVER),
    "data_time": ("i8", NEVER),
    "data_end": ("i8", NEVER),
    "data_length": ("i4", NONE),
    "data_full": ("?", 0),
    "data_small": ("?", 0),
    "data_push": ("?", 0),
    "data_last": ("?", 0),
    "data_room": ("i8", NEVER),
    "ack_frame": ("i8", NEVER),  # K, the newest pure ACK that releases
    "ack_time": ("i8", NEVER),
    "ack_ack": ("i8", NEVER),
    "ack_delay": ("i8", NEVER),
    "ack_bytes": ("i8", NEVER),
    "ack_gap": ("i8", NEVER),
    "small_run_last": ("i8", NEVER),  # the newest segment that continued a run of small ones
    "small_run_count": ("i4", 0),
    "small_run_bytes": ("i8", 0),
    "small_run_frame": ("i8", NEVER),
    "small_run_time": ("i8", NEVER),
    "nagle_off": ("i8", NEVER),  # Nagle is proved off for packets after this time
    "fin_frame": ("i8", NEVER),
    "fin_time": ("i8", NEVER),
    "fin_ack": ("i8", NEVER),
    "fin_offset": ("i8", NEVER),
    "rst_frame": ("i8", NEVER),
    "rst_time": ("i8", NEVER),
    "rst_ack": ("i8", NEVER),
    "rst_offset": ("i8", NEVER),
}


def grown_by_some(wanted: int, have: int) -> int:
    """Slots to have room for where there is room for `have`: a quarter more, since each takes more than a kilobyte."""
    return max(wanted, have + have // 4, 128)


class Slots:
    """Arrays of one length that grow together; new and released slots hold the defaults."""

    def __init__(self, columns: dict[str, tuple[str, int]], width: int) -> None:
        self._columns = columns
        self._width = width
        self._size = 0
        self.arrays: dict[str, Array] = {name: np.empty(0, dtype=kind) for name, (kind, _) in columns.items()}

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    def reserve(self, slots: int) -> None:
        """Room for slots 0 .. slots - 1."""
        if slots * self._width <= self._size:
            return
        size = grown_by_some(slots, self._size // self._width) * self._width
        for name, (kind, default) in self._columns.items():
            grown = np.full(size, default, dtype=kind)
            grown[: self._size] = self.arrays[name]
            self.arrays[name] = grown
        self._size = size

    def reset(self, slots: Array) -> None:
        """Back to the defaults."""
        rows = (slots[:, None] * self._width + np.arange(self._width)).ravel()
        for name, (_, default) in self._columns.items():
            self.arrays[name][rows] = default


@dataclass
class TcpState:
    """All that is remembered; `connections` has a slot per connection, `directions` two.
    `opened`: the frame in which each connection began, by id."""

    connections: Slots = field(default_factory=lambda: Slots(_CONNECTION, 1))
    directions: Slots = field(default_factory=lambda: Slots(_DIRECTION, 2))
    letters: Array = field(default_factory=lambda: np.empty((0, len(LETTERS)), dtype=np.int64))
    flows: dict[bytes, int] = field(default_factory=dict[bytes, int])
    flow_keys: dict[int, bytes] = field(default_factory=dict[int, bytes])
    free: list[int] = field(default_factory=list[int])
    used: int = 0
    next_id: int = 0
    opened: array[int] = field(default_factory=lambda: array("q"))
    clock: int = NEVER
    frame: int = 0
    holes: dict[int, list[list[int]]] = field(default_factory=dict[int, "list[list[int]]"])
    proofs: dict[int, list[tuple[int, int]]] = field(default_factory=dict[int, "list[tuple[int, int]]"])
    probes: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict[int, "list[tuple[int, int, int]]"])
    stalls: dict[int, Stall] = field(default_factory=dict[int, "Stall"])
    duplicates: dict[int, int] = field(default_factory=dict[int, int])
    closures: dict[int, dict[tuple[int, int], Closure]] = field(default_factory=dict[int, "dict[tuple[int, int], Closure]"])
    in_flight: dict[str, Array] = field(default_factory=dict[str, Array])
    recent: dict[str, Array] = field(default_factory=dict[str, Array])
    sent: dict[str, Array] = field(default_factory=dict[str, Array])
    closing: list[int] = field(default_factory=list[int])
    met: Met = field(default_factory=Met)
    cutoffs: Cutoffs = ALL_SEGMENTS

    def allocate(self, count: int) -> list[int]:
        """Slots for new connections."""
        slots = [self.free.pop() for _ in range(min(count, len(self.free)))]
        fresh = count - len(slots)
        slots.extend(range(self.used, self.used + fresh))
        self.used += fresh
        self.connections.reserve(self.used)
        self.directions.reserve(self.used)
        if len(self.letters) < 2 * self.used:
            slots_now = grown_by_some(self.used, len(self.letters) // 2)
            grown = np.full((2 * slots_now, len(LETTERS)), NEVER, dtype=np.int64)
            grown[: len(self.letters)] = self.letters
            self.letters = grown
        return slots

    def facts(self) -> dict[str, Any]:
        """What other stages may look up by slot: views of the arrays, never to be written."""
        return {**self.connections.arrays, **{f"side_{name}": array for name, array in self.directions.arrays.items()}}
