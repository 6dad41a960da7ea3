"""Cases of TCP floods; each writes a capture of size `n` with NumPy within seconds."""

from __future__ import annotations

import numpy as np
from cases import Cases
from flood_wire import ACK, CLIENT, FIN, PSH, RST, SERVER, SYN, Array, Capture, Numbers, answers, packets, parts

HALF_HEAD = b"GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nX-a: b\r\n"
US, MS, SECOND = 1_000, 1_000_000, 1_000_000_000

CASES = Cases()
case = CASES.add


def _clients(k: Array) -> dict[str, Numbers]:
    """A client endpoint of its own for each number."""
    return {"source": CLIENT + (k // 60_000), "source_port": 1024 + k % 60_000}


def _handshakes(k: Array, time: Array) -> tuple[Array, Array, Array]:
    who = _clients(k)
    seq = (k * 2654435761) & 0xFFFFFFFF
    syn = packets(len(k), flags=SYN, seq=seq, time=time, **who)
    answer = answers(syn, flags=SYN | ACK, seq=0, ack=(seq + 1) & 0xFFFFFFFF, time=time + 100 * US)
    done = packets(len(k), seq=(seq + 1) & 0xFFFFFFFF, ack=1, time=time + 200 * US, **who)
    return syn, answer, done


# connections


@case("clients that send a SYN", 250_000)
def half_open(capture: Capture, n: int) -> None:
    for k in parts(n):
        capture.write(packets(len(k), flags=SYN, seq=k * 7919, time=k * US, **_clients(k)))


@case("ports of a server that a client scans, each answered by RST", 250_000)
def scan(capture: Capture, n: int) -> None:
    for k in parts(n):
        ports: dict[str, Numbers] = {"target": SERVER + k // 65_535, "target_port": 1 + k % 65_535}
        syn = packets(len(k), flags=SYN, seq=k * 7919, time=k * 10 * US, **ports)
        capture.write(syn, answers(syn, flags=RST | ACK, ack=(k * 7919 + 1) & 0xFFFFFFFF, time=k * 10 * US + 5 * US))


@case("SYNs that were answered, and nothing more", 250_000)
def half_open_answered(capture: Capture, n: int) -> None:
    for k in parts(n):
        capture.write(*_handshakes(k, k * 10 * US)[:2])


@case("connections that do nothing", 250_000)
def established(capture: Capture, n: int) -> None:
    for k in parts(n):
        capture.write(*_handshakes(k, k * 10 * US))


@case("connections with an unfinished request head", 50_000)
def unfinished_heads(capture: Capture, n: int) -> None:
    for k in parts(n):
        syn, answer, done = _handshakes(k, k * 10 * US)
        head = packets(len(k), HALF_HEAD, flags=ACK | PSH, seq=done["seq"], ack=1, time=k * 10 * US + 300 * US, **_clients(k))
        capture.write(syn, answer, done, head)


@case("open answers of 200 events each, every 50 ms", 5_000)
def event_streams(capture: Capture, n: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    event = b'17\r\ndata: {"token": "of"}\n\n\r\n'
    k = np.arange(n)
    syn, answer, done = _handshakes(k, k * US)
    request = packets(n, HALF_HEAD + b"\r\n", flags=ACK | PSH, seq=done["seq"], ack=1, time=k * US + 300 * US, **_clients(k))
    capture.write(syn, answer, done, request)
    server: dict[str, Numbers] = {name.replace("source", "target"): value for name, value in _clients(k).items()}
    server |= {"source": SERVER, "source_port": 80}
    asked, sent = done["seq"].astype(np.int64) + len(HALF_HEAD) + 2, 1
    for number in range(202):
        payload, time = head if number == 0 else b"0\r\n\r\n" if number == 201 else event, (number + 1) * 50 * MS + k * US
        capture.write(packets(n, payload, **server, flags=ACK | PSH, seq=sent, ack=asked, time=time))
        sent += len(payload)
        if number % 10 == 1:
            capture.write(packets(n, seq=asked, ack=sent, time=time + 25 * MS, **_clients(k)))


@case("packets of connections that take turns, each with a piece of a head", 500_000)
def unfinished_heads_in_turns(capture: Capture, n: int) -> None:
    for k in parts(n):
        who = k % 200_000
        capture.write(packets(len(k), b"GET / HT", flags=ACK | PSH, seq=1 + k // 200_000 * 8, time=k * US, **_clients(who)))


@case("connections that were closed at once", 125_000)
def closed(capture: Capture, n: int) -> None:
    for k in parts(n):
        syn, answer, done = _handshakes(k, k * 10 * US)
        one = packets(len(k), flags=FIN | ACK, seq=done["seq"], ack=1, time=k * 10 * US + 300 * US, **_clients(k))
        other = answers(one, flags=FIN | ACK, seq=1, ack=done["seq"].astype(np.int64) + 1, time=k * 10 * US + 400 * US)
        capture.write(syn, answer, done, one, other)


@case("times that the same ports are used again", 125_000)
def port_reuse(capture: Capture, n: int) -> None:
    for k in parts(n):
        capture.write(packets(len(k), flags=SYN, seq=k * 100_003, time=k * 10 * US))


@case("times that the same ports are used again for a request", 62_500)
def port_reuse_requests(capture: Capture, n: int) -> None:
    for k in parts(n):
        seq = k * 100_003
        syn = packets(len(k), flags=SYN, seq=seq, time=k * 100 * US)
        head = packets(len(k), HALF_HEAD + b"\r\n", seq=seq + 1, ack=1, time=k * 100 * US + 20 * US)
        capture.write(syn, answers(syn, flags=SYN | ACK, ack=seq + 1, time=k * 100 * US + 10 * US), head)


@case("times that the same ports are used again, two minutes after an RST", 125_000)
def port_reuse_late(capture: Capture, n: int) -> None:
    for k in parts(n):
        capture.write(packets(len(k), flags=RST | ACK, seq=k, time=k * 121 * SECOND))


# one connection


@case("SYNs of one client, all the same", 250_000)
def same_syn(capture: Capture, n: int) -> None:
    for k in parts(n):
        capture.write(packets(len(k), flags=SYN, seq=7, time=k * US))


@case("ACKs that say nothing new, of both sides", 250_000)
def ack_storm(capture: Capture, n: int) -> None:
    for k in parts(n // 2):
        one = packets(len(k), seq=100, ack=100, time=k * US)
        capture.write(one, answers(one, seq=100, ack=100, time=k * US))


@case("RSTs", 250_000)
def rst_flood(capture: Capture, n: int) -> None:
    for k in parts(n):
        capture.write(packets(len(k), flags=RST | ACK, seq=k * 1000, time=k * US))


@case("FINs, each further on", 250_000)
def fin_flood(capture: Capture, n: int) -> None:
    for k in parts(n):
        capture.write(packets(len(k), flags=FIN | ACK, seq=k * 1000, time=k * US))


# holes


@case("segments that each open a hole", 125_000)
def holes(capture: Capture, n: int) -> None:
    for k in parts(n):
        capture.write(packets(len(k), b"x", seq=k * 2, time=k * US))


@case("segments that each open a hole, while the other side acknowledges", 125_000)
def holes_acknowledged(capture: Capture, n: int) -> None:
    for k in parts(n):
        data = packets(len(k), b"x", seq=k * 2, ack=1, time=k * US)
        capture.write(data, answers(data, seq=1, ack=k * 2, time=k * US))


@case("segments that go down, each below the one before", 125_000)
def downwards(capture: Capture, n: int) -> None:
    capture.write(packets(1, b"x", seq=0))
    for k in parts(n):
        capture.write(packets(len(k), b"x", seq=3 * (n - k), time=k * US))


@case("segments that fill holes in random order", 125_000)
def holes_filled(capture: Capture, n: int) -> None:
    chance = np.random.default_rng(1)
    order = chance.permutation(n)
    for k in parts(n):
        capture.write(packets(len(k), b"GET / HTTP/1.1\r\n", seq=1 + 16 * order[k], time=k * US))


@case("connections with a hole each", 100_000)
def hole_each(capture: Capture, n: int) -> None:
    for k in parts(n):
        first = packets(len(k), b"GET / HTTP", flags=ACK | PSH, seq=1, time=k * 10 * US, **_clients(k))
        capture.write(first, packets(len(k), b"x" * 100, seq=50, time=k * 10 * US + US, **_clients(k)))


@case("segments at random sequence numbers", 125_000)
def jumps(capture: Capture, n: int) -> None:
    chance = np.random.default_rng(2)
    for k in parts(n):
        anywhere = chance.integers(0, 1 << 32, (2, len(k)))
        capture.write(packets(len(k), b"x" * 100, seq=anywhere[0], ack=anywhere[1], time=k * US))


@case("segments whose bytes contradict earlier ones", 125_000)
def overlaps(capture: Capture, n: int) -> None:
    chance = np.random.default_rng(3)
    for k in parts(n):
        data = chance.integers(0, 256, (len(k), 100), dtype=np.uint8)
        capture.write(packets(len(k), data, seq=1 + k % 50, time=k * US))


@case("segments of 1,000 bytes, each 1 byte further on, whose bytes contradict earlier ones", 62_500)
def sliding_overlaps(capture: Capture, n: int) -> None:
    chance = np.random.default_rng(4)
    for k in parts(n):
        data = chance.integers(0, 256, (len(k), 1_000), dtype=np.uint8)
        capture.write(packets(len(k), data, seq=1 + k, time=k * US))


@case("tries of the same bytes, a second apart, each below an ACK that waits for it", 125_000)
def tries(capture: Capture, n: int) -> None:
    capture.write(packets(1, b"x" * 100, seq=1))
    for k in parts(n // 2):
        again = packets(len(k), b"x" * 100, seq=1, ack=1, time=(k + 1) * SECOND)
        capture.write(again, answers(again, seq=1, ack=1, time=(k + 1) * SECOND + MS))


@case("segments that are sent again after 400 ms, 1,000 of a connection: a candidate each", 250_000)
def stalls(capture: Capture, n: int) -> None:
    for k in parts(n):
        begun = k[k % 1_000 == 0]
        capture.write(*_handshakes(begun // 1_000, k[0] * SECOND - 500 * MS + np.arange(len(begun)) * MS))
        place, time, who = k % 1_000, k * SECOND, _clients(k // 1_000)
        seq = ((k // 1_000 * 2654435761) + 1 + place * 100) & 0xFFFFFFFF
        first = packets(len(k), b"x" * 100, flags=ACK | PSH, seq=seq, ack=1, time=time, **who)
        again = packets(len(k), b"x" * 100, flags=ACK | PSH, seq=seq, ack=1, time=time + 400 * MS, **who)
        capture.write(first, again, answers(again, seq=1, ack=(seq + 100) & 0xFFFFFFFF, time=time + 401 * MS))


@case("announcements that close and open the window", 125_000)
def windows(capture: Capture, n: int) -> None:
    for k in parts(n // 2):
        shut = packets(len(k), seq=1, ack=1, window=0, time=k * 100 * MS)
        data = answers(shut, seq=1 + k, ack=1, time=k * 100 * MS + 60 * MS)
        capture.write(shut, packets(len(k), seq=1, ack=1 + k, time=k * 100 * MS + 50 * MS), data)


@case("segments of one byte with a PSH", 250_000)
def tiny_segments(capture: Capture, n: int) -> None:
    for k in parts(n):
        capture.write(packets(len(k), b"x", flags=ACK | PSH, seq=1 + k, ack=1, time=k * 300 * MS))


@case("keep-alive probes and window probes", 250_000)
def probes(capture: Capture, n: int) -> None:
    for k in parts(n // 2):
        one = packets(len(k), b"x", seq=0, ack=1, time=k * 300 * MS)
        capture.write(one, answers(one, seq=1, ack=1, window=k % 3, time=k * 300 * MS + MS))


# headers


@case("packets with random options and windows", 125_000)
def absurd_options(capture: Capture, n: int) -> None:
    chance = np.random.default_rng(5)
    for k in parts(n):
        options = chance.integers(0, 12, (len(k), 40), dtype=np.uint8)
        flags = chance.integers(0, 256, len(k))
        capture.write(packets(len(k), b"GET / HTTP/1.1\r\n\r\n", options, flags=flags, seq=1 + 18 * k,
                              window=chance.integers(0, 65_536, len(k)), time=k * US))  # fmt: skip


@case("packets of 1,000 connections of which every field is random", 125_000)
def noise(capture: Capture, n: int) -> None:
    chance = np.random.default_rng(6)
    for k in parts(n):
        data = chance.integers(0, 256, (len(k), 60), dtype=np.uint8)
        numbers = {name: chance.integers(0, 1 << bits, len(k)) for name, bits in _NOISY}
        ends = chance.integers(0, 1000, len(k))
        made = packets(len(k), data, time=chance.integers(0, 10**12, len(k)), source_port=1024 + ends, **numbers)
        capture.write(made, answers(made, time=k * US, **{x: chance.integers(0, 1 << bits, len(k)) for x, bits in _NOISY}))


_NOISY = (("flags", 8), ("seq", 32), ("ack", 32), ("window", 16), ("size", 8))


@case("packets with an impossible data offset", 250_000)
def impossible(capture: Capture, n: int) -> None:
    for k in parts(n):
        capture.write(packets(len(k), b"x" * 20, size=0xF0, seq=k, time=k * US, **_clients(k % 100)))


@case("packets whose lengths are random: of the packet, of IP and its header, of TCP's header", 125_000)
def absurd_lengths(capture: Capture, n: int) -> None:
    chance = np.random.default_rng(7)
    for k in parts(n):
        numbers = {name: chance.integers(0, 1 << bits, len(k)) for name, bits in (("total", 16), ("size", 8), ("wire", 32))}
        data = packets(len(k), b"GET / HTTP/1.1\r\n\r\n" * 3, seq=1 + 54 * k, time=k * US, **_clients(k % 1_000))
        data["version"] = 0x40 | chance.integers(0, 16, len(k))
        for name, values in numbers.items():
            data[name] = values
        capture.write(data)


@case("first fragments of datagrams of which the rest never comes", 125_000)
def fragments(capture: Capture, n: int) -> None:
    for k in parts(n):
        ends: dict[str, Numbers] = {"source": CLIENT + k // 65_536, "id": k % 65_536, "fragment": 0x2000}
        capture.write(packets(len(k), b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n", seq=1, time=k * US, **ends))


@case("fragments that overlap, of datagrams that are never whole", 125_000)
def overlapping_fragments(capture: Capture, n: int) -> None:
    for k in parts(n):
        ends: dict[str, Numbers] = {"id": k // 1_000 % 65_536, "source": CLIENT + k // 65_536_000, "fragment": 0x2000 | k % 1_000}
        capture.write(packets(len(k), b"x" * 100, seq=1, time=k * US, **ends))


# time


@case("segments of 1,000 connections at any time between 1970 and 2106", 125_000)
def any_time(capture: Capture, n: int) -> None:
    chance = np.random.default_rng(8)
    for k in parts(n):
        data = packets(len(k), b"x" * 100, seq=1 + k // 1_000 * 100, ack=1, **_clients(k % 1_000))
        back = answers(data, seq=1, ack=1 + k // 1_000 * 100)
        for layout in (data, back):
            layout["seconds"] = chance.integers(0, 1 << 32, len(k))
        capture.write(data, back)


@case("clients that send a SYN while time goes backwards", 250_000)
def backwards(capture: Capture, n: int) -> None:
    for k in parts(n):
        capture.write(packets(len(k), flags=SYN, seq=k * 7919, time=(n - k) * SECOND, **_clients(k)))


@case("segments while time goes backwards", 250_000)
def segments_backwards(capture: Capture, n: int) -> None:
    for k in parts(n // 2):
        data = packets(len(k), b"x" * 100, seq=1 + 100 * k, ack=1, time=(n - k) * MS)
        capture.write(data, answers(data, seq=1, ack=1 + 100 * k, time=(n - k) * MS))


@case("segments and ACKs of one time stamp", 250_000)
def one_time(capture: Capture, n: int) -> None:
    for k in parts(n // 2):
        data = packets(len(k), b"x" * 100, seq=1 + 100 * k, ack=1)
        capture.write(data, answers(data, seq=1, ack=1 + 100 * k))


@case("copies of one packet at one time", 250_000)
def copies(capture: Capture, n: int) -> None:
    for k in parts(n):
        capture.write(packets(len(k), b"x" * 100, seq=1, id=1, ttl=k % 200))
