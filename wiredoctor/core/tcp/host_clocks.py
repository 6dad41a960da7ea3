"""Measure how far the clocks of several capturing hosts are apart, if their captures were merged into one.

Each packet between two such hosts is in the capture twice, once by each clock. If one clock is ahead by more than a round trip,
all packets of the other one come first: the peer has acknowledged a packet before its second copy was captured. With one clock,
this is impossible wherever the packet was captured, because a packet is acknowledged at the end of its way. A retransmission may
follow its acknowledgment, but it has another IP identification and other timestamps.

In the direction from the host whose clock is behind, the copies are further apart than the clocks, by the time that the packet
took. In the other direction, they are less far apart by that time. So both directions together show whose clock is behind, and
limit the difference (RFC 5905 section 8).

Of each packet, the earlier copy is kept. So all kept packets of a connection have the times of one clock.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

MAX_SAMPLES: Final = 1 << 16
"""The maximum number of connections whose copies are measured."""
AGREEING: Final = 10
"""The clocks of two hosts are only used if fewer than one in AGREEING connections shows another clock to be behind."""
FEWEST: Final = 2
"""The minimum number of connections that show that the clocks of two hosts are apart."""
NEAREST: Final = 4
"""The number of connections before and after a moment whose median is the difference of the clocks at that moment.

The clocks may drift, and each connection has an error of up to half a round trip.
"""


class Sample:
    """A difference of two clocks: at `time` (ns), the clock of the pair's second host was ahead by `ahead` ns."""

    def __init__(self, time: i64, ahead: i64) -> None:
        self.time: i64 = time
        self.ahead: i64 = ahead


class HostClocks:
    """The differences between clocks that the connections of a capture show, by the addresses of two hosts in ascending order."""

    def __init__(self) -> None:
        self.samples: dict[tuple[bytes, bytes], list[Sample]] = {}
        self.count: i64 = 0
        self.interfaces: dict[int, bytes] = {}
        """The host that captured on an interface, if the copies were captured on two interfaces."""

    def add(self, key: bytes, first_apart: i64, second_apart: i64, time: i64) -> None:
        """Add what a connection shows. `key`: its addresses and ports (packet.key_of), beginning with the host `first`.

        `first_apart`, `second_apart`: the time from the first to the second copy of a packet from each of its hosts.
        """
        if first_apart == second_apart or self.count >= MAX_SAMPLES:
            return
        size = (len(key) - 4) // 2
        first, second = key[:size], key[size : 2 * size]
        if first == second:
            return
        ahead = (first_apart + second_apart) // 2
        if (first_apart < second_apart) != (second < first):
            ahead = -ahead
        self.count += 1
        pair = (first, second) if first < second else (second, first)
        samples = self.samples.get(pair)
        if samples is None:
            samples = self.samples[pair] = []
        samples.append(Sample(time, ahead))

    def place(self, key: bytes, is_first_behind: bool, interface_behind: i64, interface_ahead: i64) -> None:
        """Store which host of a connection captured on which interface: the host whose clock is behind, and the other one."""
        if interface_behind == interface_ahead:
            return
        size = (len(key) - 4) // 2
        first, second = key[:size], key[size : 2 * size]
        self.interfaces[interface_behind] = first if is_first_behind else second
        self.interfaces[interface_ahead] = second if is_first_behind else first


class Neighbor:
    """A host whose clock was compared with that of another one, `host`: the clock of `host` is ahead by `sign` * samples."""

    def __init__(self, host: bytes, samples: list[Sample], sign: i64) -> None:
        self.host: bytes = host
        self.samples: list[Sample] = samples
        self.sign: i64 = sign


class ClockShifts:
    """How many ns must be added to the times of each connection, so that all have the times of the clock that is most ahead.

    `parents`: for each host except one, another host with which its clock was compared. So each host has one difference from that
    one (`roots`), and `most` has the largest of all these hosts.
    """

    def __init__(self, clocks: HostClocks) -> None:
        self.parents: dict[bytes, Neighbor] = {}
        self.roots: dict[bytes, bytes] = {}
        self.most: dict[bytes, int] = {}
        self.interfaces: dict[int, bytes] = clocks.interfaces
        pairs = [(pair, samples) for pair, samples in clocks.samples.items() if agree(samples)]
        pairs.sort(key=number_of_samples, reverse=True)
        for pair, _ in pairs:
            if pair[0] not in self.roots:
                self.join(pair[0], pairs)

    def join(self, root: bytes, pairs: list[tuple[tuple[bytes, bytes], list[Sample]]]) -> None:
        """Find all hosts whose clocks were compared with that of `root`, directly or through others."""
        self.roots[root] = root
        hosts, most = [root], i64(0)
        for host in hosts:  # grows
            for (one, other), samples in pairs:
                if one == host and other not in self.roots:
                    found, sign = other, i64(1)
                elif other == host and one not in self.roots:
                    found, sign = one, i64(-1)
                else:
                    continue
                self.parents[found] = Neighbor(host, samples, sign)
                self.roots[found] = root
                hosts.append(found)
                for sample in samples:
                    most = max(most, self.ahead(found, sample.time))
        self.most[root] = most

    @property
    def longest(self) -> int:
        """The largest difference of two clocks in ns, at the first connection that shows it; 0 if the clocks agree."""
        longest: i64 = 0
        for host, root in self.roots.items():
            if host in self.parents:
                longest = max(longest, self.most[root] - self.ahead(host, 0), self.most[root] - self.ahead(root, 0))
        return longest

    @property
    def of_hosts(self) -> list[int]:
        """The shifts of the hosts' times in ns, as of the first connection that shows them, in ascending order."""
        return sorted({int(self.most[root] - self.ahead(host, 0)) for host, root in self.roots.items()})

    def ahead(self, host: bytes, time: i64) -> i64:
        """Return by how many ns the clock of a host was ahead of that of its root at a time."""
        total: i64 = 0
        while host in self.parents:
            parent = self.parents[host]
            total += parent.sign * difference_at(parent.samples, time)
            host = parent.host
        return total

    def of(self, key: bytes, interface: i64, time: i64) -> i64:
        """Return the shift of a connection in ns. `key`: its addresses and ports.

        `interface`, `time`: those of its first packet.
        """
        size = (len(key) - 4) // 2
        hosts = [host for host in (key[:size], key[size : 2 * size]) if host in self.roots]
        if not hosts and interface in self.interfaces:
            hosts = [host for host in [self.interfaces[interface]] if host in self.roots]
        shift: i64 = 0
        for host in hosts:  # of two hosts, the packets of the clock that is behind come first
            shift = max(shift, self.most[self.roots[host]] - self.ahead(host, time))
        return shift


def number_of_samples(pair: tuple[tuple[bytes, bytes], list[Sample]]) -> int:
    """Return the number of samples of a pair of hosts."""
    return len(pair[1])


def agree(samples: list[Sample]) -> bool:
    """Return whether enough connections of two hosts show that their clocks are apart, and nearly all in the same direction."""
    positive = len([1 for sample in samples if sample.ahead > 0])
    return len(samples) >= FEWEST and AGREEING * min(positive, len(samples) - positive) < len(samples)


def difference_at(samples: list[Sample], time: i64) -> i64:
    """Return the median of the samples that are nearest to a time. The samples are in time order."""
    low, high = i64(0), i64(len(samples))
    while low < high:
        middle = (low + high) // 2
        if samples[middle].time < time:
            low = middle + 1
        else:
            high = middle
    near = [sample.ahead for sample in samples[max(low - NEAREST, i64(0)) : low + NEAREST + 1]]
    near.sort()
    return near[len(near) // 2]
