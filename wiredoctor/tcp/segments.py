"""The segments table: every column of tables.SEGMENTS that TCP alone can tell."""

from __future__ import annotations

import numpy as np

from wiredoctor.scan import Groups, before, fill, last_where
from wiredoctor.tables import ACK, FIN, NEVER, NONE, PSH, RST, SYN, Array, Columns
from wiredoctor.tcp.acks import Acks
from wiredoctor.tcp.delivery import Delivery, own_and_other
from wiredoctor.tcp.handshake import Agreement, windows
from wiredoctor.tcp.state import TcpState

_PASSED_ON = ("frame", "time", "interface", "direction", "flags", "length", "captured", "ip_id", "ttl", "link_hash",
              "encapsulation", "options_hash", "has_timestamps", "sack", "dsack", "payload")  # fmt: skip


def describe(
    rows: Columns, groups: Groups, index: Array, delivery: Delivery, agreement: Agreement, acks: Acks, state: TcpState
) -> Columns:
    """What each packet is, by itself and by what had been seen of its connection before it."""
    flags, direction = rows["flags"], rows["direction"]
    length = rows["length"].astype(np.int64)
    offset = rows["offset"]
    sent = (flags & (SYN | FIN | RST)) == 0
    has_ack = (flags & ACK) != 0
    high, other_high = own_and_other(delivery.high, direction)
    high_before, _ = own_and_other(delivery.high_before, direction)
    mss, other_mss = own_and_other(agreement.mss, direction)
    s: Columns = {name: rows[name] for name in _PASSED_ON}
    s["connection"] = state.connections["id"][index]
    s["slot"] = index
    s["role"] = _role(rows["frame"], direction, index, groups, state)
    s["offset"] = offset
    s["ack"] = np.where(has_ack, rows["ack_offset"], NEVER)
    s["window"] = np.where(has_ack | ((flags & SYN) != 0), windows(rows, agreement), NEVER)
    s["new_start"], s["new_bytes"] = delivery.new_start, delivery.new_bytes
    s["opens_hole"], s["fills_hole"], s["overlap"] = delivery.opens_hole, delivery.fills_hole, delivery.overlap
    s["acks_unseen"] = delivery.acks_unseen
    # In flight, as seen at the capture point
    base = np.maximum(acks.other, np.where(acks.other == NEVER, np.minimum(offset, 0), NEVER))
    s["in_flight_before"] = np.where(high_before == NEVER, 0, np.maximum(high_before - base, 0))
    s["in_flight"] = np.where(high == NEVER, 0, np.maximum(high - base, 0))
    probe = sent & has_ack & (length <= 1) & (offset == high_before - 1) & ((s["in_flight_before"] == 0) | (length == 0))
    s["keep_alive_probe"] = probe & (delivery.new_bytes == 0)
    s["pure_ack"] = sent & has_ack & (length == 0) & ~s["keep_alive_probe"]
    again = (flags & FIN != 0) & (length == 0) & (high_before != NEVER) & (offset < high_before)
    stale = (length > 0) & (delivery.new_bytes == 0) & ~s["keep_alive_probe"] & ((flags & RST) == 0)
    s["retransmission"] = stale | agreement.repeated | again
    s["zero_window"] = (rows["window"] == 0) & ((flags & (SYN | RST)) == 0)
    counted = np.where(acks.own_before == NEVER, np.minimum(acks.own, 0), acks.own_before)
    s["acked_bytes"] = np.where(acks.own == NEVER, 0, acks.own - counted)
    rtt_own, rtt_other = own_and_other(acks.rtt, direction)
    s["rtt_own"], s["rtt_other"] = rtt_own, rtt_other
    known = (acks.newest != NEVER) & (rtt_own != NEVER)
    s["ack_delay"] = np.where(known, rows["time"] - acks.newest - rtt_own, NEVER)
    s["handshake"] = agreement.both
    s["mss"] = mss
    s["mss_announced"], _ = own_and_other(agreement.announced, direction)
    s["full"] = length >= mss
    _windows(s, rows, groups, index, high_before, other_high, other_mss, acks, state)
    new = delivery.new_bytes > 0
    fills_window = (s["window_room"] != NEVER) & (length >= s["window_room"])
    s["small_start"] = new & (length < mss) & ~fills_window
    # longer than the MSS and not longer than the receiver takes: no super-segment, the sender has the larger MSS
    limit, _ = own_and_other(agreement.limit, direction)
    s["even"] = (length <= limit) | (length % mss == 0)
    s["small"] = s["small_start"] | (new & (length > mss) & ~s["even"] & ~fills_window)
    _neighbours(s, groups, index, high, state)
    return s


def _role(frame: Array, direction: Array, index: Array, groups: Groups, state: TcpState) -> Array:
    """0 client, 1 server, -1 as long as no SYN or SYN-ACK was seen."""
    c = state.connections
    slots = index[groups.first]
    syn, answer = c["syn_frame"][slots], c["answer_frame"][slots]
    known = (syn != NEVER)[groups.number] & (frame >= syn[groups.number])
    client = np.where(known, c["client_direction"][slots][groups.number], NONE)
    # until the SYN itself comes (captures swap neighbours, or lack it), its answer tells
    if bool(np.any((answer != NEVER) & ((syn == NEVER) | (answer < syn)))):
        answered = ~known & (answer != NEVER)[groups.number] & (frame >= answer[groups.number])
        client = np.where(answered, c["answered"][slots][groups.number], client)
    return np.where(client != NONE, (client != direction).astype(np.int8), NONE).astype(np.int8)


def _windows(
    s: Columns, rows: Columns, groups: Groups, index: Array, high_before: Array, other_high: Array, other_mss: Array,
    acks: Acks, state: TcpState,
) -> None:  # fmt: skip
    """Room in the window that the other side announced; window updates, duplicate ACKs, and announcements without room."""
    direction, directions = rows["direction"], state.directions
    edge = np.where((s["window"] != NEVER) & (s["ack"] != NEVER), s["ack"] + s["window"], NEVER)
    announces = ((rows["flags"] & ACK) != 0) & ((rows["flags"] & RST) == 0)
    latest: list[Array] = []
    latest_window: list[Array] = []
    for d in (0, 1):
        side = 2 * index + d
        newest = last_where(announces & (direction == d), groups)
        latest.append(fill(edge, newest, directions["edge"][side]))
        latest_window.append(fill(rows["window"].astype(np.int64), newest, directions["window"][side].astype(np.int64)))
    own_edge = np.where(
        direction == 0, _past(latest[0], groups, index, "edge", 0, state), _past(latest[1], groups, index, "edge", 1, state)
    )
    own_window = np.where(
        direction == 0,
        _past(latest_window[0], groups, index, "window", 0, state),
        _past(latest_window[1], groups, index, "window", 1, state),
    )
    _, other_edge = own_and_other((latest[0], latest[1]), direction)
    start = np.maximum(high_before, np.where(high_before == NEVER, s["offset"], NEVER))
    s["window_room"] = np.where(other_edge == NEVER, NEVER, np.maximum(other_edge - start, 0))
    there = np.where(other_high == NEVER, acks.own, other_high)
    room_before, room = own_edge - there, edge - there
    raised = (own_edge != NEVER) & (edge != NEVER) & (room_before < other_mss) & (edge > own_edge)
    s["window_update"] = s["pure_ack"] & ((s["acked_bytes"] <= 0) | raised)
    unanswered = (other_high != NEVER) & (other_high > acks.own)
    s["widens"] = raised & (rows["window"] > own_window)
    s["duplicate_ack"] = s["pure_ack"] & (s["acked_bytes"] <= 0) & (rows["window"] == own_window) & unanswered
    s["short"] = announces & (edge != NEVER) & (room < other_mss)
    for d in (0, 1):
        side = 2 * index[groups.last] + d
        directions["edge"][side] = latest[d][groups.last]
        directions["window"][side] = latest_window[d][groups.last]


def _past(values: Array, groups: Groups, index: Array, name: str, direction: int, state: TcpState) -> Array:
    """A filled column as of the row before, with the state in front of the first row."""
    shifted = before(values, groups)
    shifted[groups.first] = state.directions[name][2 * index[groups.first] + direction]
    return shifted


_OF_DATA = (("frame", "frame"), ("time", "time"), ("end", "data_end"), ("length", "length"), ("full", "full_end"),
            ("small", "small"), ("push", "push"), ("last", "data_last"), ("room", "data_room"))  # fmt: skip
_OF_ACK = (("frame", "frame"), ("time", "time"), ("ack", "ack"), ("delay", "ack_delay"), ("bytes", "acked_bytes"),
           ("gap", "ack_gap"))  # fmt: skip
_NAMED = {"last": "data_before_last_in_flight"}


def _neighbours(s: Columns, groups: Groups, index: Array, high: Array, state: TcpState) -> None:
    """D, the newest data segment of this side, and K, the pure ACK of the other side that followed it."""
    direction, directions, frame = s["direction"], state.directions, s["frame"]
    own, other = 2 * index + direction, 2 * index + 1 - direction
    length = s["length"].astype(np.int64)
    s["data_end"] = s["offset"] + length
    s["full_end"] = s["full"] & s["even"]
    s["push"] = (s["flags"] & PSH) != 0
    s["data_last"] = s["data_end"] == high
    s["data_room"] = np.where(s["window_room"] == NEVER, NEVER, s["window_room"] - length)
    marks = {
        "data": s["new_bytes"] > 0,
        "ack": s["pure_ack"] & (s["acked_bytes"] > 0) & ~s["widens"],
        "": np.ones(len(frame), dtype=bool),
        "payload": (length > 0) & ~s["keep_alive_probe"],
        "retransmission": s["retransmission"],
        "short": s["short"],
    }
    newest = {name: [last_where(mask & (direction == d), groups) for d in (0, 1)] for name, mask in marks.items()}

    def of_own(name: str) -> Array:
        earlier = [before(i, groups) for i in newest[name]]
        return np.where(direction == 0, earlier[0], earlier[1])

    def of_other(name: str) -> Array:
        return np.where(direction == 0, newest[name][1], newest[name][0])

    data, ack = of_own("data"), of_other("ack")
    s["data_before_row"] = data
    earlier = [before(i, groups) for i in newest["ack"]]
    last_ack = fill(s["time"], np.where(direction == 0, earlier[0], earlier[1]), directions["ack_time"][own])
    s["ack_gap"] = np.where(last_ack == NEVER, NEVER, s["time"] - last_ack)
    for field, column in _OF_DATA:
        s[_NAMED.get(field, f"data_before_{field}")] = fill(s[column], data, directions[f"data_{field}"][own])
    since = s["data_before_frame"]
    ack_frame = fill(frame, ack, directions["ack_frame"][other])
    follows = (since != NEVER) & (ack_frame > since)
    for field, column in _OF_ACK:
        s[f"ack_before_{field}"] = np.where(follows, fill(s[column], ack, directions[f"ack_{field}"][other]), NEVER)
    s["quiet_since_ack"] = follows & (ack_frame > fill(frame, of_own(""), directions["last_frame"][own]))
    s["other_data_since"] = fill(frame, of_other("payload"), directions["payload_frame"][other]) > since
    again = fill(frame, of_own("retransmission"), directions["retransmission_frame"][own])
    again = np.maximum(again, fill(frame, of_other("retransmission"), directions["retransmission_frame"][other]))
    s["retransmission_since"] = again > since
    s["window_short_since"] = fill(frame, of_other("short"), directions["short_frame"][other]) > since
    for d in (0, 1):
        side = 2 * index[groups.last] + d
        for name, fields in (("data", _OF_DATA), ("ack", _OF_ACK)):
            _store(newest[name][d][groups.last], side, [(f"{name}_{f}", s[c]) for f, c in fields], state)
        for name in ("", "payload", "retransmission", "short"):
            _store(newest[name][d][groups.last], side, [(f"{name or 'last'}_frame", frame)], state)


def _store(rows: Array, side: Array, columns: list[tuple[str, Array]], state: TcpState) -> None:
    have = rows >= 0
    for name, values in columns:
        state.directions[name][side[have]] = values[rows[have]]
