"""A server that does what a request tells it, in a process for each connection, so that one can die and the others go on.

    told_server.py PORT NAME [idle=SECONDS] [obedient=no] [deaf] [frail] [small]

A request without `X-Do` is answered with 200. Else `X-Do` is a word of DEEDS, or the status of the answer, and may go on with
`;once=KEY` (only the first request with this key), `;of=NAME` (only this server) and `;for=SECONDS`; or it is `slowly`: the
body is read 20 kB every 20 ms. Every answer carries `X-From`.
`idle`: closes a connection that has rested so long. `deaf`: accepts connections and never reads. `frail`: the whole server
can be told to die. `small`: has small receive buffers.
"""

import contextlib
import os
import signal
import socket
import struct
import sys
import tempfile
import time

TRACEBACK = b'Traceback (most recent call last):\n  File "app.py", line 7, in <module>\nRuntimeError: no application\n'
LARGE = 20_000
CUT, CUT_AT = 5_000, 2_000
PORTION = 20_000
FOREVER = 30.0


class Told(Exception):
    """The connection is over; the words say how: close, reset or die."""


def head(status, *more, length=None):
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    reason = {200: "OK", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}
    fields = [f"X-From: {NAME}", "Content-Type: text/plain", framing, *more]
    return "\r\n".join([f"HTTP/1.1 {status} {reason.get(status, 'Told')}", *fields, "", ""]).encode()


def answer(connection, status, size=40, *, body=True):
    connection.sendall(head(status, length=size) + b"a" * size * body)


def chunked(connection, sizes, *, whole):
    connection.sendall(head(200))
    for size in sizes:
        time.sleep(0.03)
        connection.sendall(b"%x\r\n" % size + b"c" * size + b"\r\n")
    if whole:
        connection.sendall(b"0\r\n\r\n")


def do_close(_connection, _seconds):
    raise Told("close")


def do_reset(_connection, _seconds):
    raise Told("reset")


def do_die(_connection, _seconds):
    raise Told("die")


def do_part_head(connection, _seconds):
    connection.sendall(head(200, length=40)[:50])
    time.sleep(0.02)
    raise Told("die")


def do_garbage(connection, _seconds):
    connection.sendall(TRACEBACK)
    raise Told("close")


def do_no_colon(connection, _seconds):
    connection.sendall(head(200, "this line is no field", length=40) + b"a" * 40)


def do_large_head(connection, _seconds):
    cookies = [f"Set-Cookie: c{n}={'x' * 1_000}" for n in range(LARGE // 1_000)]
    connection.sendall(head(200, *cookies, length=40) + b"a" * 40)


def do_cut(connection, _seconds):
    connection.sendall(head(200, length=CUT) + b"a" * 1_000)
    time.sleep(0.05)
    connection.sendall(b"a" * (CUT_AT - 1_000))
    time.sleep(0.05)
    raise Told("die")


def do_cut_chunks(connection, _seconds):
    chunked(connection, (800, 700), whole=False)
    time.sleep(0.05)
    raise Told("die")


def do_stall(connection, _seconds):
    connection.sendall(head(200, length=CUT) + b"a" * CUT_AT)
    time.sleep(FOREVER)


def do_stall_in_head(connection, _seconds):
    connection.sendall(head(200, length=40)[:50])
    time.sleep(FOREVER)


def do_never(_connection, _seconds):
    time.sleep(FOREVER)


def do_late(connection, seconds):
    time.sleep(seconds)
    answer(connection, 200)


def do_pause(connection, seconds):
    """A body with a pause in it."""
    connection.sendall(head(200, length=CUT) + b"a" * CUT_AT)
    time.sleep(seconds)
    connection.sendall(b"a" * (CUT - CUT_AT))


def do_drip(connection, seconds):
    """A long body, a piece every tenth of a second."""
    pieces = round(10 * seconds)
    connection.sendall(head(200, length=10_000 * pieces))
    for _ in range(pieces):
        connection.sendall(b"a" * 10_000)
        time.sleep(0.1)


def do_events(connection, seconds):
    """A stream of events that is silent for a while."""
    connection.sendall(head(200).replace(b"text/plain", b"text/event-stream"))
    for pause in (0.5, seconds, 0.5):
        connection.sendall(b"9\r\ndata: a\n\n\r\n")
        time.sleep(pause)
    connection.sendall(b"0\r\n\r\n")


def do_chunks(connection, _seconds):
    chunked(connection, (300, 300, 300), whole=True)


DEEDS = {name[3:].replace("_", "-"): deed for name, deed in list(globals().items()) if name.startswith("do_")}


def first_time(key):
    with contextlib.suppress(FileExistsError):
        os.close(os.open(os.path.join(tempfile.gettempdir(), f"told-{os.getppid()}-{key}"), os.O_CREAT | os.O_EXCL))
        return True
    return False


def read_request(reader):
    """Method and fields of the next request; None when the client has closed. The body is read unless its server dies of it."""
    line = reader.readline()
    if not line:
        return None
    fields = {"method": line.split()[0].decode()}
    while line not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        fields[name.lower()] = value.strip()
        line = reader.readline()
    if fields.get("transfer-encoding") == "chunked":
        while (size := int(reader.readline(), 16)) > 0:
            reader.read(size + 2)
        reader.readline()
    elif not fields.get("x-do", "").startswith("unread"):
        slowly = fields.get("x-do") == "slowly"
        for left in range(int(fields.get("content-length", 0)), 0, -PORTION):
            reader.read(min(left, PORTION))
            time.sleep(0.02 if slowly else 0)
    return fields


def obey(connection, method, told):
    word, *more = told.split(";")
    options = dict(option.split("=") for option in more)
    wanted = word and options.get("of", NAME) == NAME and ("once" not in options or first_time(options["once"]))
    if not wanted or word.isdigit():
        answer(connection, int(word) if wanted else 200, body=method != "HEAD")
    elif word == "slowly":
        answer(connection, 200)
    elif word.startswith("unread"):
        raise Told("die")
    else:
        DEEDS[word](connection, float(options.get("for", 1.2)))


def serve(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader = connection.makefile("rb")
    try:
        while True:
            connection.settimeout(IDLE)
            fields = read_request(reader)
            connection.settimeout(None)
            if fields is None:
                return
            obey(connection, fields["method"], fields.get("x-do", "") if OBEDIENT else "")
    except Told as how:
        if str(how) == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if str(how) == "die":
            if FRAIL:
                os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
    except OSError:
        return


def main():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if WORDS.keys() & {"deaf", "small"}:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    listener.bind(("", int(sys.argv[1])))
    listener.listen(64)
    kept = []
    while True:
        connection, _ = listener.accept()
        if "deaf" in WORDS:
            kept.append(connection)
            continue
        if not os.fork():
            listener.close()
            with connection, contextlib.suppress(OSError):
                serve(connection)
            os._exit(0)
        connection.close()


NAME = sys.argv[2]
WORDS = dict(word.partition("=")[::2] for word in sys.argv[3:])
IDLE = float(WORDS["idle"]) if "idle" in WORDS else None
OBEDIENT = WORDS.get("obedient") != "no"
FRAIL = "frail" in WORDS
main()
