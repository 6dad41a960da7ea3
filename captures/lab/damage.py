"""Make recordings that are damaged or incomplete, although client and server work correctly."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import evidence
from scenario import Connection, Find, Lab, Steps, curl, get, nginx, raw_client, raw_server, recording

if TYPE_CHECKING:
    from pathlib import Path

URLS = [f"http://10.9.0.2/{name}.txt" for name in ("a", "large", "b")]
SEGMENT = 1_448
LOST = (9, 10, 11, 25, 30)
"""The indexes of the full segments of the large page that are removed: three in a row, and two alone."""

BLAMELESS = {
    "truncated-response": "the recording has a hole, the response had none",
    "retransmission-stall": "nothing was sent twice",
    "premature-close": "the client closed",
}


def _lose(path: Path) -> None:
    """Remove five data packets from a recording, as if tcpdump had missed them."""
    frames = [segment.frame for segment in evidence.segments(path)[0] if segment.length == SEGMENT]
    whole = path.with_name("whole")
    path.rename(whole)
    lost = [str(frames[index]) for index in LOST]
    subprocess.run(["editcap", "-F", "pcap", str(whole), str(path), *lost], check=True, timeout=60)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"


def _overrun(lab: Lab, large: Steps, *, after: float, seconds: float) -> None:
    """Serve the large page in the steps `large`, and stop the recorder for `seconds`, beginning `after` seconds after curl has
    started.
    """
    small = [HEAD % 300 + b"s" * 300]
    raw_server(lab, [small, large, small], 80, nodelay=True)
    client = lab.client.start("curl", "-sS", "--max-time", "20", *URLS, stdout=subprocess.DEVNULL)
    time.sleep(after)
    assert lab.recorder
    os.killpg(lab.recorder.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.killpg(lab.recorder.pid, signal.SIGCONT)
    client.wait(20)


def _cut(path: Path) -> None:
    """Cut off the file inside a packet, like a full disk or an interrupted copy."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3 - 7])


def _lose_handshakes(path: Path) -> None:
    """Remove the SYNs and SYN-ACKs from a recording, like a capture filter."""
    whole = path.with_name("whole")
    path.rename(whole)
    words = ("tshark", "-n", "-r", str(whole), "-Y", "tcp.flags.syn == 0", "-F", "pcap", "-w", str(path))
    subprocess.run(words, check=True, timeout=60)


CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 300\r\n\r\n" + b"b" * 300
ASKING = b"GET /report HTTP/1.1\r\nHost: 10.9.0.2:8080\r\n\r\n"
UNTIL = 4.0
"""The time in seconds between two connections. In each second, Linux increases initial sequence numbers by 15.6 MB."""


@recording(
    title="Two connections on the same ports, seconds apart; the capture lacks both handshakes",
    at=("client", "server"),
    software=("python", "tshark"),
    connections=(Connection((get("/report", 300),), closed_by="server", repeat=2),),
    finds=(Find("capture-loss"),),
    must_not={
        "retransmission-stall": "nothing was sent twice",
        "excess-body": "what follows belongs to another connection",
        "no-response": "both requests were answered",
    },
    lose=_lose_handshakes,
)
def ports_used_again(lab: Lab) -> None:
    """The client has only one port for its connections (net.ipv4.ip_local_port_range). The server answers its request and closes;
    seconds later, the client sends a request from the same port. The SYNs and SYN-ACKs were then removed with tshark, so the
    sequence numbers of both directions seem to jump by tens of megabytes."""
    raw_server(lab, [[CLOSING, {"do": "close"}]])
    lab.client.run("sysctl", "-q", "-w", "net.ipv4.ip_local_port_range=40000 40000")
    for pause in (0.0, UNTIL):
        time.sleep(pause)
        raw_client(lab, [[ASKING, {"read": ["GET"]}, {"do": "wait"}]])


@recording(
    title="Five data packets of a download are missing from the capture",
    at="client",
    software=("nginx", "curl", "editcap"),
    connections=(Connection((get("/a.txt", 300), get("/large.txt", 60_000 - len(LOST) * SEGMENT), get("/b.txt", 900))),),
    finds=(Find("capture-loss"),),
    must_not=BLAMELESS,
    mend=_lose,
    whole=False,
)
def lost_packets(lab: Lab) -> None:
    """Three GETs by curl on one connection, the second of 60 kB. Five of its full segments were then removed with editcap: three
    in a row and two alone, 7,240 bytes in three places. The client acknowledged all of them."""
    nginx(lab, a=300, large=60_000, b=900)
    curl(lab, *URLS)


@recording(
    title="tcpdump is too slow, and the kernel drops packets",
    at="server",
    software=("python", "curl", "tcpdump"),
    connections=(Connection((get("/a.txt", 300), get("/large.txt", None), get("/b.txt", 300))),),
    finds=(Find("capture-loss"),),
    must_not=BLAMELESS,
    ring=("-s", "400", "-B", "32", "--immediate-mode"),
    loses=True,
    whole=False,
)
def overrun(lab: Lab) -> None:
    """Three GETs by curl on one connection to a hand-written server, which sends the second response in fifty pieces of 8,688
    bytes, 10 ms apart. tcpdump has a ring of 32 kB and is stopped for a quarter of a second during this response, so the kernel
    drops packets of both directions."""
    piece = b"w" * 6 * SEGMENT
    _overrun(lab, [HEAD % (50 * len(piece)), *[step for _ in range(50) for step in (piece, 0.01)]], after=0.2, seconds=0.25)


@recording(
    title="dumpcap was stopped for a while, and reports how many packets the kernel dropped",
    at="server",
    suffix="pcapng",
    software=("python", "curl", "dumpcap"),
    connections=(Connection((get("/a.txt", 300), get("/large.txt", None), get("/b.txt", 300))),),
    finds=(Find("capture-loss"), Find("capture-loss", "dropped")),
    must_not=BLAMELESS,
    options=("-B", "1", "-s", "400"),
    loses=True,
    whole=False,
)
def overrun_counted(lab: Lab) -> None:
    """Like overrun, with pieces of 2,896 bytes that are 60 ms apart. dumpcap with its smallest ring is stopped for two seconds.
    The Interface Statistics Block at the end of the file contains the number of dropped packets."""
    piece = b"w" * 2 * SEGMENT
    _overrun(
        lab, [HEAD % (60 * len(piece)) + piece, *[step for _ in range(59) for step in (0.06, piece)]], after=0.5, seconds=2.0
    )


@recording(
    title="A capture file that ends in the middle of a packet",
    at="client",
    software=("nginx", "curl"),
    connections=(Connection((get("/a.txt", 300), get("/large.txt", None)), closed_by=""),),
    finds=(Find("damaged-file"),),
    must_not={"truncated-response": "the recording ends, not the response", "capture-loss": "what there is has no hole"},
    mend=_cut,
    whole=False,
)
def cut_off(lab: Lab) -> None:
    """Two GETs by curl on one connection, the second of 30 kB; the file was then cut off inside a packet of it, at about two
    thirds."""
    nginx(lab, a=300, large=30_000)
    curl(lab, *URLS[:2])
