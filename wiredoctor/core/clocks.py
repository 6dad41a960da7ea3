"""The clock of a sender, by the time stamps of its segments (RFC 7323): it says when they left, whatever the path did to them.

A time stamp (TSval) counts in a unit that the sender chooses, from a number that is different on each connection. The unit is
learned from pairs of segments that passed 20 ms or more apart: their TSvals divide the time between them into ticks. A path that
stood still makes a pair disagree, and one that jitters makes it imprecise; so two that fit roughly, or one that fits closely, are
needed, and what does not fit counts against it. A direction whose unit stays unknown (no time stamps, or some that a middlebox
writes) is no witness.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.connection import Clock, Previous, Side
from wiredoctor.core.packet import Packet
from wiredoctor.core.segment import MILLISECOND, NEVER
from wiredoctor.core.unsigned import u32

PLAIN: Final = 0x0101080A
"""The option as all common systems write it: NOP, NOP, kind 8, length 10 (RFC 7323 appendix A)."""
HEADER: Final = 20
WITH_STAMP: Final = 32
"""Bytes of a TCP header, without options and with that option alone."""
KIND: Final = 8
LENGTH: Final = 10
UNITS: Final = (MILLISECOND, 4 * MILLISECOND, 10 * MILLISECOND, 100 * MILLISECOND, MILLISECOND // 1000)
"""Nanoseconds of a tick: Linux since 4.13, Windows, macOS and FreeBSD; earlier ones, by the rate of their timer interrupt; and
Linux for internal paths since 6.7."""
SHORTEST: Final = 20 * MILLISECOND
"""Time between two time stamps that are compared; in less a path's jitter is too large a part of it."""
FEWEST: Final = 8
"""Ticks between them: the last one is not whole."""
LONGEST: Final = 1_000 * MILLISECOND
"""What does not fit in that time is no jitter."""
SURE: Final = 2
"""Votes from which on a unit is known."""
MOST: Final = 16
HALF: Final = 1 << 31
WORD: Final = 0xFFFFFFFF


def stamp_of(packet: Packet) -> i64:
    """Return TSval of a packet; NEVER without the option."""
    if not packet.has_timestamps:
        return NEVER
    at = packet.tcp + HEADER
    if packet.payload - packet.tcp == WITH_STAMP and at + 12 <= packet.end and u32(packet.block, at) == PLAIN:
        return u32(packet.block, at + 4)
    at = find_option(packet)
    return i64(NEVER) if at < 0 else u32(packet.block, at + 2)


def echo_of(packet: Packet) -> i64:
    """Return TSecr of a packet: the TSval of the peer that it answers. NEVER without the option."""
    at: i64 = find_option(packet) if packet.has_timestamps else -1
    return i64(NEVER) if at < 0 else u32(packet.block, at + 6)


def find_option(packet: Packet) -> i64:
    """Return where the time-stamp option begins in the packet; -1 if it is not captured."""
    block, at, end = packet.block, packet.tcp + HEADER, min(packet.payload, packet.end)
    while at + LENGTH <= end and block[at] != 0:
        if block[at] == KIND and block[at + 1] == LENGTH:
            return at
        at += 1 if block[at] == 1 else max(i64(block[at + 1]), 2)
    return -1


def ticks(since: i64, until: i64) -> i64:
    """Return how far a TSval is after another; less than 0 if it is before it."""
    return (until - since + HALF & WORD) - HALF


def learn(own: Side, time: i64, stamp: i64) -> None:
    """Note that a segment with new data and this TSval passed."""
    data, syn = own.previous, own.syn
    if data is None:
        own.previous = data = Previous()
    data.clock_due = time + SHORTEST
    if stamp == NEVER:
        return
    clock = data.clock
    if clock is None:
        data.clock = clock = Clock(time, stamp)
        if syn is not None and syn.stamp != NEVER:
            clock.time, clock.stamp = syn.time, syn.stamp
    passed, count = time - clock.time, ticks(clock.stamp, stamp)
    if passed < SHORTEST or 0 <= count < FEWEST:
        return
    unit = find_unit(passed, count)
    if unit:
        vote(clock, unit, 2 if fits(passed, count * unit, 32) else 1)
    elif passed < LONGEST:
        return  # a later one may fit: jitter becomes a smaller part
    elif clock.votes > 0:
        clock.votes -= 1
    clock.time, clock.stamp = time, stamp


def find_unit(passed: i64, count: i64) -> i64:
    """Return the unit in which so many ticks take this time, to a quarter; 0 if there is none."""
    i: i64 = 0
    while i < len(UNITS):
        if fits(passed, count * UNITS[i], 4):
            return UNITS[i]
        i += 1
    return 0


def fits(passed: i64, told: i64, part: i64) -> bool:
    """Return whether a time agrees with what a clock tells, to this part of it."""
    return -(passed // part) <= told - passed <= passed // part


def vote(clock: Clock, unit: i64, votes: i64) -> None:
    """Count votes for a unit. The majority of all stays (Boyer and Moore: MJRTY, 1981)."""
    if unit == clock.unit:
        clock.votes = min(clock.votes + votes, MOST)
    elif clock.votes >= votes:
        clock.votes -= votes
    else:
        clock.unit = unit
        clock.votes = votes - clock.votes


def unit_of(own: Side) -> i64:
    """Return the unit of a side's clock; 0 while it is no witness."""
    data = own.previous
    clock = None if data is None else data.clock
    return 0 if clock is None or clock.votes < SURE else clock.unit


def elapsed(own: Side, since: i64, until: i64) -> i64:
    """Return how far a side's clock advanced between two of its TSvals, to a tick; NEVER if it is no witness."""
    unit = unit_of(own)
    if unit == 0 or since == NEVER or until == NEVER:
        return NEVER
    return ticks(since, until) * unit


def lateness(own: Side, packet: Packet) -> i64:
    """Return how much longer a packet with data was on its way than the newest data of its side (its SYN, if there is none), to a
    tick; NEVER if the side's clock is no witness."""
    data, syn = own.previous, own.syn
    if data is None or data.clock is None:
        return NEVER
    time, before = data.time, data.stamp
    if data.frame == NEVER and syn is not None:
        time, before = syn.time, syn.stamp
    told = elapsed(own, before, stamp_of(packet))
    return i64(NEVER) if told == NEVER else packet.time - time - told


def has_waited(own: Side, packet: Packet, pause: i64, rtt: i64) -> bool:
    """Return whether a packet with data left its sender after half of the time, less a round trip, for which nothing had come, or
    later. Else it was on its way: the path stood still. True if the clock of its side is no witness."""
    late = lateness(own, packet)
    return late == NEVER or 2 * (pause - late + unit_of(own)) >= pause - rtt
