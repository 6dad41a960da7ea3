"""Learn the clock of a sender from its TCP timestamps (RFC 7323), which show when each segment was sent.

A timestamp (TSval) counts ticks. The sender chooses the length of a tick, and for each connection the first value. The length of
a tick is learned from pairs of segments captured at least 20 ms apart: the time between the segments, divided by the difference
of their TSvals. If the path delayed one of the segments, the result usually is not a common tick length, or it is soon disproved
because it is too long. Therefore two rough matches or one close match are needed, and the majority decides. A clock is not used
while its tick length is unknown. The tick length stays unknown if there are no timestamps, or if a middlebox writes them.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.tcp.connection import Clock, Previous, Side
from wiredoctor.core.tcp.numbers import wrap
from wiredoctor.core.tcp.segment import MILLISECOND, NEVER
from wiredoctor.core.unsigned import u32

PLAIN: Final = 0x0101080A
"""The timestamps option with the usual padding: NOP, NOP, kind 8, length 10 (RFC 7323 appendix A)."""
HEADER: Final = 20
OPTION: Final = 12
"""The size in bytes of the padded timestamps option. HEADER is the size of a TCP header without options."""
KIND: Final = 8
LENGTH: Final = 10
UNITS: Final = [MILLISECOND, 4 * MILLISECOND, 10 * MILLISECOND, 100 * MILLISECOND, MILLISECOND // 1000]
"""Common tick lengths in ns; a list, because mypyc copies a tuple at each access by index.

The first is used by Linux since 4.13, Windows, macOS and FreeBSD; the next three by earlier systems, according to the rate of
their timer interrupt; the last by Linux since 6.7 on routes that are configured for it (tcp_usec_ts).
"""
SHORTEST: Final = 20 * MILLISECOND
"""The shortest time in ns between two timestamps that are compared. Over a shorter time, jitter may distort the result."""
FEWEST: Final = 8
"""The minimum number of ticks between compared timestamps. With this many, the error from the incomplete last tick is small."""
SURE: Final = 2
"""The minimum number of votes (see `vote`) for a tick length to count as known."""
MAX_VOTES: Final = 16


def echo_of(packet: Packet) -> i64:
    """Return the TSecr of a packet, which echoes a TSval of the peer, or NEVER if it has no timestamps option."""
    at: i64 = find_option(packet, KIND, LENGTH) if packet.has_timestamps else -1
    return i64(NEVER) if at < 0 else u32(packet.block, at + 6)


def stamp_before(options: bytes) -> i64:
    """Return the TSval in the TCP options `options` if these are 12 bytes with only the timestamps option; otherwise NEVER."""
    return u32(options, 4) if len(options) == OPTION and u32(options, 0) == PLAIN else i64(NEVER)


def find_option(packet: Packet, kind: i64, length: i64 = 0) -> i64:
    """Return the index in `packet.block` of a TCP option; -1 if the captured TCP header does not contain it.

    `kind`: the option's kind. `length`: the option's length, or 0 for any length.
    """
    block, at, end = packet.block, packet.tcp + HEADER, min(packet.payload, packet.end)
    while at + LENGTH <= end and block[at] != 0:
        size: i64 = block[at + 1]
        if block[at] == kind and (length == 0 or size == length):
            return at
        if block[at] == 1:
            size = 1
        elif size < 2:
            size = 2
        at += size
    return -1


def ticks(since: i64, until: i64) -> i64:
    """Return the number of ticks from the TSval `since` to the TSval `until`; negative if `until` is earlier."""
    return wrap(until - since)


def learn(own: Side, time: i64, stamp: i64) -> None:
    """Update the estimate of a side's clock from the TSval `stamp` of a segment with new data, captured at `time` (ns)."""
    data, syn = own.previous, own.syn
    if data is None:
        own.previous = data = Previous()
    data.clock_due = time + SHORTEST
    if stamp == NEVER:
        return
    clock = data.clock
    if clock is None:
        if syn is None or syn.stamp == NEVER:
            clock = Clock(time, stamp)
        elif time - syn.time < SHORTEST:
            return  # short connections do not need a clock
        else:
            clock = Clock(syn.time, syn.stamp)
        data.clock = clock
    if clock.unit > 0 and is_too_long(clock, clock.unit, time, stamp):
        clock.unit = clock.votes = 0
    passed, count = time - clock.time, ticks(clock.stamp, stamp)
    if passed < SHORTEST or 0 <= count < FEWEST:
        return
    unit = find_unit(passed, count)
    if unit > 0 and not is_too_long(clock, unit, time, stamp):
        vote(clock, unit, 2 if fits(passed, count * unit, 32) else 1)
    clock.time, clock.stamp = time, stamp


def is_too_long(clock: Clock, unit: i64, time: i64, stamp: i64) -> bool:
    """Return whether a tick length of `unit` ns is too long.

    `stamp` is the TSval of a segment captured at `time` (ns). A tick length is too long if it makes the time since the first
    TSval clearly longer than in the capture.
    """
    passed = time - clock.first_time
    return ticks(clock.first_stamp, stamp) * unit > passed + passed // 4 + SHORTEST + unit


def find_unit(passed: i64, count: i64) -> i64:
    """Return the common tick length (ns) for which `count` ticks take `passed` ns, within 25 %; 0 if none fits."""
    for unit in UNITS:
        if fits(passed, count * unit, 4):
            return unit
    return 0


def fits(passed: i64, by_clock: i64, part: i64) -> bool:
    """Return whether two durations in ns differ by at most `passed` divided by `part`.

    `passed`: the time between two packets in the capture. `by_clock`: the time between them by the sender's clock.
    """
    return -(passed // part) <= by_clock - passed <= passed // part


def vote(clock: Clock, unit: i64, votes: i64) -> None:
    """Add votes for a tick length of `unit` ns. The majority of all votes wins (Boyer and Moore: MJRTY, 1981)."""
    if unit == clock.unit:
        clock.votes = min(clock.votes + votes, MAX_VOTES)
    elif clock.votes >= votes:
        clock.votes -= votes
    else:
        clock.unit = unit
        clock.votes = votes - clock.votes


def unit_of(own: Side) -> i64:
    """Return the tick length of a side's clock in ns; 0 while it is unknown."""
    data = own.previous
    clock = None if data is None else data.clock
    return 0 if clock is None or clock.votes < SURE else clock.unit


def count_ticks(own: Side) -> tuple[i64, i64]:
    """Return the number of ticks from the first to the newest TSval of a side's data, and the time in ns between them.

    Return NEVER twice if the side has no two timestamps that are SHORTEST apart, or if its clock was set back.
    """
    data = own.previous
    if data is None or data.clock is None or data.time == NEVER or data.stamp == NEVER:
        return i64(NEVER), i64(NEVER)
    clock = data.clock
    passed, count = data.time - clock.first_time, ticks(clock.first_stamp, data.stamp)
    return (count, passed) if passed >= SHORTEST and count >= 0 else (i64(NEVER), i64(NEVER))


def elapsed(own: Side, since: i64, until: i64) -> i64:
    """Return the time in ns between two TSvals of a side, accurate to one tick, or NEVER if the side's clock is unknown."""
    unit = unit_of(own)
    if unit == 0 or since == NEVER or until == NEVER:
        return NEVER
    return ticks(since, until) * unit


def lateness(own: Side, packet: Packet) -> i64:
    """Return how many ns longer a data packet was in transit than its side's previous data.

    A side's first data is compared with its SYN. The result is accurate to one tick of the side's clock. Return the constant
    NEVER if that clock is unknown.
    """
    data, syn = own.previous, own.syn
    if data is None or data.clock is None:
        return NEVER
    time, before = data.time, data.stamp
    if data.frame == NEVER and syn is not None:
        time, before = syn.time, syn.stamp
    by_clock = elapsed(own, before, packet.stamp)
    return i64(NEVER) if by_clock == NEVER else packet.time - time - by_clock


def has_waited(own: Side, packet: Packet, pause: i64, rtt: i64) -> bool:
    """Return whether the sender of a data packet really paused before the packet, or True if this is unknown.

    If the sender's clock advanced by less than half of `pause` - `rtt` (ns), the packet was sent earlier and delayed in transit.
    `pause`: the time since the side's previous data. `rtt`: the round trip.
    """
    late = lateness(own, packet)
    return agrees(own, i64(NEVER) if late == NEVER else pause - late, pause, rtt)


def agrees(own: Side, by_clock: i64, pause: i64, rtt: i64) -> bool:
    """Return whether the sender's clock advanced by at least half of `pause` - `rtt`, or True if this is unknown.

    `pause`: the time in ns between two packets in the capture. `rtt`: the round trip in ns. `by_clock`: the time in ns by which
    the clock advanced, which may be one tick too short; NEVER if it is unknown.
    """
    return by_clock == NEVER or 2 * (by_clock + unit_of(own)) >= pause - rtt
