"""Cases of hostile HTTP; each writes a capture of size `n` in plain Python within seconds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import repeat

from cases import Cases
from hostile_wire import ACK, CLIENT, FULL, PSH, SERVER, SUPER, Capture, Connection

MB = 1_000_000
GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

CASES = Cases()
case = CASES.add


def _asked(capture: Capture, request: bytes = GET) -> Connection:
    connection = capture.connection()
    connection.send(CLIENT, request)
    return connection


def _blocks(begin: bytes, block: bytes, total: int) -> Iterator[bytes]:
    yield begin
    yield from repeat(block, total // len(block))


# heads


@case("bytes of a request head that does not end, in full segments", 250 * MB)
def endless_head(capture: Capture, n: int) -> None:
    capture.connection().stream(CLIENT, _blocks(b"GET / HTTP/1.1\r\n", b"X-Field: " + b"v" * 989 + b"\r\n", n))


@case("bytes of a request head that does not end, a segment each", 250_000)
def endless_head_by_bytes(capture: Capture, n: int) -> None:
    capture.connection().stream(CLIENT, _blocks(b"GET / HTTP/1.1\r\n", b"X-Field: value\r\n", n), 1)


@case("bytes of a request target that does not end, in full segments", 50 * MB)
def endless_target(capture: Capture, n: int) -> None:
    capture.connection().stream(CLIENT, _blocks(b"GET /", b"a" * 1000, n))


@case("connections with half a request head each", 25_000)
def half_heads(capture: Capture, n: int) -> None:
    for _ in range(n):
        capture.connection().send(CLIENT, GET[:-2])


@case("connections with half a request head of 8 kB each", 25_000)
def long_half_heads(capture: Capture, n: int) -> None:
    for _ in range(n):
        capture.connection().send(CLIENT, b"GET / HTTP/1.1\r\n" + b"X: 0123456789abcdef\r\n" * 400)


@case("request heads of 50,000 fields each, all different", 25)
def many_fields(capture: Capture, n: int) -> None:
    connection = capture.connection()
    for k in range(n):
        lines = b"".join(b"%x:\n" % (k * 50_000 + i) for i in range(50_000))[:250_000]
        connection.send(CLIENT, b"GET / HTTP/1.1\n" + lines + b"\n\n")
        connection.send(SERVER, OK)


@case("request heads of 100,000 fields each, 1.2 MB", 25)
def too_many_fields(capture: Capture, n: int) -> None:
    connection = capture.connection()
    for _ in range(n):
        connection.send(CLIENT, b"GET / HTTP/1.1\r\n" + b"".join(b"X-%06d: v\r\n" % i for i in range(100_000)) + b"\r\n")
        connection.send(SERVER, OK)


@case("header lines of 10 MB", 5)
def long_lines(capture: Capture, n: int) -> None:
    connection = capture.connection()
    for _ in range(n):
        connection.send(CLIENT, b"GET / HTTP/1.1\r\nCookie: " + b"c" * 10 * MB + b"\r\n\r\n")
        connection.send(SERVER, OK)


@case("requests and responses with fields of 200 kB that reports show", 100)
def long_texts(capture: Capture, n: int) -> None:
    connection = capture.connection()
    for k in range(n):
        text = b"%06d" % k + b"t" * 200_000
        for name in (b"Host", b"User-Agent", b"Referer"):
            connection.send(CLIENT, b"GET / HTTP/1.1\r\n%b: %b\r\n\r\n" % (name, text))
            connection.send(SERVER, b"HTTP/1.1 200 OK\r\nServer: %b\r\nContent-Length: 0\r\n\r\n" % text)


@case("requests for targets of 200 kB each, closed without an answer", 250)
def long_targets(capture: Capture, n: int) -> None:
    for k in range(n):
        connection = _asked(capture, b"GET /%06d%b HTTP/1.1\r\nHost: a\r\n\r\n" % (k, b"t" * 200_000))
        capture.wait(10**9)
        connection.close()


@case("requests for different targets of 1,400 bytes", 50_000)
def different_targets(capture: Capture, n: int) -> None:
    connection = capture.connection()
    for k in range(n):
        connection.send(CLIENT, b"GET /%07d%b HTTP/1.1\r\nHost: a\r\n\r\n" % (k, b"t" * 1400))
        connection.send(SERVER, OK)


@case("folded lines in request heads of 240 kB each", 100)
def folded_lines(capture: Capture, n: int) -> None:
    connection = capture.connection()
    for _ in range(n):
        connection.send(CLIENT, b"GET / HTTP/1.1\r\nHost: a\r\n" + b" b\r\n" * 60_000 + b"\r\n")
        connection.send(SERVER, OK)


@case("request heads of a byte per segment, in pairs swapped and sent twice", 2_000)
def shuffled_head(capture: Capture, n: int) -> None:
    connection = capture.connection()
    head = GET[:-4] + b"\r\nX: 0123456789\r\n\r\n"
    for _ in range(n):
        at, ack = connection.sent[CLIENT], connection.sent[SERVER]
        for i in range(len(head)):
            j = min(i ^ 1, len(head) - 1)
            for _ in range(2):
                connection.packet(CLIENT, ACK | PSH, at + j, ack, head[j : j + 1])
        connection.sent[CLIENT] += len(head)
        connection.send(SERVER, OK)


@case("requests, no two heads of which have the same fields", 50_000)
def different_heads(capture: Capture, n: int) -> None:
    connection = capture.connection()
    for k in range(n):
        lines = b"".join(b"X-%06x-%d: %b\r\nVia: %06x%d%b\r\n" % (k, i, b"v" * 50, k, i, b"u" * 50) for i in range(9))
        connection.send(CLIENT, b"GET /a HTTP/1.1\r\n" + lines + b"\r\n", 4000)
        connection.send(SERVER, b"HTTP/1.1 200 %06x\r\nServer: %06x\r\n%bContent-Length: 0\r\n\r\n" % (k, k, lines), 4000)


@case("requests with a Host, a User-Agent and a target that no other has", 100_000)
def different_hosts(capture: Capture, n: int) -> None:
    connection = capture.connection()
    for k in range(n):
        connection.send(CLIENT, b"GET /%d HTTP/1.1\r\nHost: h%d\r\nUser-Agent: u%d\r\n\r\n" % (k, k, k))
        connection.send(SERVER, OK)


@case("servers, with one exchange each", 25_000)
def different_servers(capture: Capture, n: int) -> None:
    for k in range(n):
        connection = capture.connection(server=0x0C000000 + k)
        connection.send(CLIENT, GET)
        connection.send(SERVER, OK)
        connection.close()


@case("status lines and versions that are absurd", 100_000)
def absurd_starts(capture: Capture, n: int) -> None:
    connection = capture.connection()
    lines = [b"HTTP/9.9 999 X", b"HTTP/1.1 000", b"HTTP/1.1 99999999999 X", b"HTTP/1.1 200" + b" " * 900, b"HTTP/0.0 100 X",
             b"HTTP/1.1 -1 X", b"HTTP/11.1 200 OK", b"HTTP/1.1"]  # fmt: skip
    for k in range(n):
        connection.send(CLIENT, b"GET /%d HTTP/%d.%d\r\n\r\n" % (k, k % 12, k % 13))
        connection.send(SERVER, lines[k % len(lines)] + b"\r\nContent-Length: 0\r\n\r\n")


# framing


@case("chunks of one byte, in full segments", 2_500_000)
def tiny_chunks(capture: Capture, n: int) -> None:
    _asked(capture).stream(SERVER, [CHUNKED, *repeat(b"1\r\nx\r\n" * 100, n // 100), b"0\r\n\r\n"])


@case("chunks of one byte, a segment each", 500_000)
def tiny_chunks_alone(capture: Capture, n: int) -> None:
    connection = _asked(capture)
    connection.send(SERVER, CHUNKED)
    connection.stream(SERVER, repeat(b"1\r\nx\r\n", n), 6)


@case("chunks of one byte, a byte per segment", 75_000)
def tiny_chunks_in_bytes(capture: Capture, n: int) -> None:
    connection = _asked(capture)
    connection.send(SERVER, CHUNKED)
    connection.stream(SERVER, repeat(b"1\r\nx\r\n", n), 1)


@case("bytes of chunk extensions of 10 MB each", 50 * MB)
def chunk_extensions(capture: Capture, n: int) -> None:
    for _ in range(n // (10 * MB)):
        _asked(capture).stream(SERVER, [CHUNKED, b"1;x=", *repeat(b"e" * 1000, 10_000), b"\r\nx\r\n0\r\n\r\n"])


@case("chunk extensions of 16 kB, a byte per segment", 10)
def chunk_extensions_in_bytes(capture: Capture, n: int) -> None:
    connection = _asked(capture)
    connection.send(SERVER, CHUNKED)
    for _ in range(n):
        connection.send(SERVER, b"1;" + b"e" * 16_000 + b"\r\nx\r\n", 1)


@case("bytes of a chunk-size line that does not end", 50 * MB)
def endless_chunk_line(capture: Capture, n: int) -> None:
    _asked(capture).stream(SERVER, _blocks(CHUNKED, b"0" * 1000, n))


@case("bytes of a trailer section that does not end", 50 * MB)
def endless_trailer(capture: Capture, n: int) -> None:
    _asked(capture).stream(SERVER, _blocks(CHUNKED + b"0\r\n", b"X: y\r\n" * 200, n))


@case("bytes of a trailer section that does not end, a segment each", 250_000)
def endless_trailer_by_bytes(capture: Capture, n: int) -> None:
    _asked(capture).stream(SERVER, _blocks(CHUNKED + b"0\r\n", b"X: y\r\n" * 200, n), 1)


@case("connections with a chunk size of 10,000 digits", 1_000)
def long_chunk_sizes(capture: Capture, n: int) -> None:
    for k in range(n):
        digits = (b"f" * 10_000, b"0" * 9_999 + b"1", b"-" + b"1" * 10_000, b"1" * 9_000 + b" " * 1_000)[k % 4]
        connection = _asked(capture)
        connection.send(SERVER, CHUNKED + digits + b"\r\nx\r\n0\r\n\r\n")
        connection.close()


@case("responses with a Content-Length of 10,000 digits", 1_000)
def long_content_lengths(capture: Capture, n: int) -> None:
    for k in range(n):
        digits = (
            b"9" * 10_000,
            b"0" * 9_999 + b"1",
            b"+" + b"1" * 10_000,
            b"1, " * 3_000 + b"1",
            b",".join(b"%d" % i for i in range(2_000)),
        )
        connection = _asked(capture)
        connection.send(SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: " + digits[k % 5] + b"\r\n\r\nx")
        connection.close()


@case("bytes of a body of 10 GB, captured in part", 50 * MB)
def huge_body(capture: Capture, n: int) -> None:
    connection = _asked(capture)
    connection.stream(
        SERVER, _blocks(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", b"HTTP/1.1 200\r\n\r\n" * 100, n)
    )


@case("bytes of chunks of 60 kB that the snap length cut behind their size", 5_000 * MB)
def snapped_chunks(capture: Capture, n: int) -> None:
    connection = _asked(capture)
    connection.send(SERVER, CHUNKED)
    line, size = b"EA60\r\n", 60_000
    for _ in range(n // size):
        connection.packet(SERVER, ACK, connection.sent[SERVER], connection.sent[CLIENT], line, len(line) + size + 2)
        connection.sent[SERVER] += len(line) + size + 2


@case("bytes of a body with a length, in cut super-segments: sequence numbers start again several times", 10_000 * MB)
def snapped_body(capture: Capture, n: int) -> None:
    connection = _asked(capture)
    connection.send(SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n")
    for k in range(n // SUPER):
        connection.skip(SERVER, SUPER)
        if k % 100 == 0:
            connection.acknowledge(CLIENT)


@case("messages whose framing contradicts itself", 25_000)
def smuggling(capture: Capture, n: int) -> None:
    bodies = (
        b"POST / HTTP/1.1\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, identity, x\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\n Content-Length: 9\r\n\r\nGET /x HTTP/1.1\nX: y\n\n",
    )
    for k in range(n):
        connection = _asked(capture, bodies[k % len(bodies)])
        connection.send(SERVER, OK + b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nxHTTP/1.1 204 \r\n\r\nrest")


# many messages


@case("requests pipelined without any response", 250_000)
def pipelined(capture: Capture, n: int) -> None:
    capture.connection().stream(CLIENT, repeat(GET, n))


@case("requests pipelined without any response, a segment each", 250_000)
def pipelined_alone(capture: Capture, n: int) -> None:
    capture.connection().stream(CLIENT, repeat(GET, n), len(GET))


@case("requests pipelined and answered, as many as fit in segments", 500_000)
def pipelined_answered(capture: Capture, n: int) -> None:
    connection = capture.connection()
    for _ in range(n // 2_000):
        connection.stream(CLIENT, repeat(b"GET / HTTP/1.1\n\n", 2_000))
        connection.stream(SERVER, repeat(b"HTTP/1.1 204\n\n", 2_000))


@case("responses without a request", 250_000)
def unasked(capture: Capture, n: int) -> None:
    capture.connection().stream(SERVER, repeat(b"HTTP/1.1 204 No Content\r\n\r\n", n))


@case("responses without a request, a segment each", 250_000)
def unasked_alone(capture: Capture, n: int) -> None:
    capture.connection().stream(SERVER, repeat(OK, n), len(OK))


@case("interim responses before a final one", 1_000_000)
def interim(capture: Capture, n: int) -> None:
    _asked(capture).stream(SERVER, [*repeat(b"HTTP/1.1 102 Processing\r\n\r\n" * 10, n // 10), OK])


@case("bodies of an event stream that comes in bursts, a packet each", 250_000)
def bursts(capture: Capture, n: int) -> None:
    connection = _asked(capture)
    connection.send(SERVER, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(n):
        capture.wait(600_000_000)
        connection.send(SERVER, b"1e\r\n" + b"data: x\n\n\n" * 3 + b"\r\n")
        connection.acknowledge(CLIENT)


@case("responses that nobody waited for: a finding each", 50_000)
def findings(capture: Capture, n: int) -> None:
    for _ in range(n):
        connection = _asked(capture)
        connection.send(SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx")
        connection.close()


# no feet to stand on


@case("segments of a body that overlap by half with other bytes, in pairs swapped", 30_000)
def overlapping_segments(capture: Capture, n: int) -> None:
    connection = _asked(capture)
    half = FULL // 2
    connection.send(SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % ((n + 1) * half))
    begin = connection.sent[SERVER]
    for k in range(n):
        at = begin + ((k ^ 1) if (k | 1) < n else k) * half
        connection.packet(SERVER, ACK | PSH, at, connection.sent[CLIENT], b"%c" % (97 + k % 23) * FULL)
    connection.sent[SERVER] += (n + 1) * half
    connection.acknowledge(CLIENT)


@case("packets of which every second one is missing", 250_000)
def holes(capture: Capture, n: int) -> None:
    connection = capture.connection()
    body = (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"b" * 100_000) * 4
    for k in range(n):
        at = k * FULL % (len(body) - FULL)
        connection.send(SERVER, body[at : at + FULL])
        connection.lose(SERVER, FULL)
        connection.acknowledge(CLIENT)


@case("packets of which every second one is missing, never acknowledged", 250_000)
def silent_holes(capture: Capture, n: int) -> None:
    connection = capture.connection()
    for _ in range(n):
        connection.send(CLIENT, GET)
        connection.lose(CLIENT, 100)


@case("packets that turn from HTTP to noise and back", 250_000)
def on_and_off(capture: Capture, n: int) -> None:
    chance = random.Random(5)
    noise = chance.randbytes(600)
    connection = capture.connection()
    for k in range(n):
        connection.send(CLIENT, (GET, noise, b"GET /x HT", b"POST /\r\n\r\n", b"\r\n" * 20, b"HTTP/1.1 200 OK\r\n")[k % 6])
        connection.send(SERVER, (OK, noise, b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nX: ", GET)[k % 5])


@case("packets behind CONNECT and upgrades, never answered", 250_000)
def tunnels(capture: Capture, n: int) -> None:
    for begin in (b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"):
        connection = _asked(capture, begin)
        connection.stream(CLIENT, repeat(b"\x00GET / HTTP/1.1\r\n\r\n" * 20, n // 4), 380)
        connection.stream(SERVER, repeat(b"\x00HTTP/1.1 200 OK\r\n" * 20, n // 4), 360)


@case("packets of answers to requests that the capture misses", 250_000)
def waiting_answers(capture: Capture, n: int) -> None:
    connection = capture.connection()
    connection.send(CLIENT, GET)
    connection.lose(CLIENT, 100)
    connection.stream(SERVER, repeat(OK, n), len(OK))


@case("bytes behind a hole in which everything looks like a head", 20 * MB)
def heads_behind_a_hole(capture: Capture, n: int) -> None:
    connection = _asked(capture)
    connection.send(SERVER, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n")
    connection.lose(SERVER, 100_000_000)
    connection.stream(SERVER, repeat(b"HTTP/1.1 200 OK\r\nX\r\n" * 10, n // 200))


@case("bytes of packets that each begin a head which does not end", 50 * MB)
def begun_heads(capture: Capture, n: int) -> None:
    connection = _asked(capture)
    connection.send(SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")
    for _ in range(n // FULL):
        connection.send(SERVER, b"HTTP/1.1 200 OK\r\nX: " + b"x" * (FULL - 20))
