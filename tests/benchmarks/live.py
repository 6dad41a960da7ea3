"""Measures what `wiredoctor live` promises, with traffic between two network namespaces, and says which promises it keeps.

    python tests/benchmarks/live.py [latency] [idle] [load] [kill] [memory] [gateway] [all]

Without a word: latency and idle. Root, Linux, and `apt-get install nginx wrk ethtool iproute2 wireshark-common`.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING

from live_gateway import gateway
from live_load import kill, load
from live_traffic import BY_CLOSES, FAULTS
from live_watching import Live, Said, analyze, delay, given, lab, passed
from marks import verdict
from record_http import BODIES, MORE_BODIES, missing

if TYPE_CHECKING:
    from record_http import Host

TRAFFIC = str(Path(__file__).with_name("live_traffic.py"))
PORT = 8080

LATENCY_AT_MOST = 1.0
IDLE_AT_MOST = 0.02
GROWTH_AT_MOST = 1.10
"""Seconds from the last packet of a finding to its line; of a processor without packets; resident memory
at the end over that at the mark."""

IDLE_FOR = 30.0
STALLS, ROUNDS = 25, 3
SAMPLED_FOR = 60.0
"""Seconds without packets; stalls of a round, and rounds; seconds before a mark over which memory is averaged: it goes up and
down with each batch."""

NEEDED = ("nginx", "wrk", "ethtool", "ip", "ss", "capinfos")


def _traffic(host: Host, what: str, server: Host, *more: object) -> subprocess.Popen[bytes]:
    process = host.start(sys.executable, TRAFFIC, what, server.address, str(PORT), *map(str, more))
    if what == "serve":
        host.wait_for_listener(PORT)
    return process


def latency(options: argparse.Namespace) -> bool:
    """From the last packet of a finding to its line, for stalls and for other faults of a server; and the report of the end."""
    said: list[Said] = []
    same = True
    with lab() as (client, server, folder):
        _traffic(server, "serve", server)
        for number in range(ROUNDS):
            live = Live((client, server)[number % 2], folder, "--write", "x.pcapng", "-o", "live.json", *given(options))
            print(live.until_begun())
            _traffic(client, "faults", server, STALLS).wait(300)
            time.sleep(3)
            until = len(live.said)
            live.stop()
            said += live.said[:until]
            late = live.said[until:]
            print(f"round {number + 1}: {until} findings while it ran, {len(late)} with the end: {_rules(late)}")
            analyze(folder, "x.pcapng", "file.json")
            same &= (folder / "live.json").read_bytes() == (folder / "file.json").read_bytes()
    kept = _in_time(said)
    return verdict("report of live / of analyze on its file", "the same" if same else "differ", same, "byte for byte") and kept


def _rules(lines: list[Said]) -> str:
    return ", ".join(sorted({line.finding["rule"] for line in lines})) or "none"


def _in_time(said: list[Said]) -> bool:
    """How late each rule's findings were."""
    found: dict[str, list[float]] = defaultdict(list)
    for line in said:
        found[line.finding["rule"]].append(delay(line))
    kept = True
    for rule in sorted(found.keys() | {fault.rule for fault in FAULTS.values()}):
        delays = found[rule]
        due = STALLS * ROUNDS if rule == "nagle-delayed-ack" else ROUNDS
        what, measured = f"{rule}, worst of {len(delays)}, s", f"{max(delays, default=0):.2f}"
        promise = f"at most 1, of {due} or more; median {median(delays or [0]):.2f}"
        if rule in BY_CLOSES:
            print(f"{what:44} {measured:>12}   (decided a second after the close)")
        else:
            kept &= verdict(what, measured, len(delays) >= due and max(delays) <= LATENCY_AT_MOST, promise)
    return kept


def idle(options: argparse.Namespace) -> bool:
    """CPU of all processes over half a minute without packets, on a pipe and on a terminal."""
    kept = True
    with lab() as (client, _, folder):
        for terminal in (False, True):
            live = Live(client, folder, *given(options), terminal=terminal)
            live.until_begun()
            time.sleep(3)
            packets, before, begun = passed(client), live.cpu(), time.monotonic()
            time.sleep(IDLE_FOR)
            share = (live.cpu() - before) / (time.monotonic() - begun)
            packets = passed(client) - packets
            running = ", ".join(live.processes().values())
            live.stop()
            where = "on a terminal" if terminal else "on a pipe"
            print(f"{where}: {running}; {packets} packets in {IDLE_FOR:.0f} s")
            what = f"CPU without packets, {where}"
            kept &= verdict(what, f"{share:.2%}", share < IDLE_AT_MOST, f"less than {IDLE_AT_MOST:.0%} of a processor")
    return kept


def memory(options: argparse.Namespace) -> bool:
    """Resident memory of analysis and recorder in steady traffic: at a mark, and at the end."""
    samples: list[tuple[float, dict[str, float]]] = []
    end, mark = options.minutes * 60, options.mark * 60
    with lab() as (client, server, folder):
        _traffic(server, "serve", server)
        live = Live(client, folder, *given(options))
        print(live.until_begun())
        _traffic(client, "steady", server, options.rate)
        begun, told, packets = time.monotonic(), 0, passed(client)
        while (now := time.monotonic() - begun) < end and live.process.poll() is None:
            time.sleep(2)
            samples.append((time.monotonic() - begun, live.resident()))
            if now // 60 > told:
                told = int(now // 60)
                rate, packets = (passed(client) - packets) / 60, passed(client)
                each = ", ".join(f"{what} {size:.0f}" for what, size in samples[-1][1].items())
                print(f"{told:2} min: {each} MB; {rate:,.0f} packets/s, {len(live.said)} findings", flush=True)
        live.stop()
    kept = True
    for what in ("analysis", "recorder"):
        first, last = (_around(samples, what, at) for at in (mark, end))
        promise = f"at most {GROWTH_AT_MOST}: {first:.0f} MB after {options.mark:g} min, {last:.0f} MB after {options.minutes:g}"
        kept &= verdict(f"memory of the {what}, end / mark", f"{last / first:.2f}", last / first <= GROWTH_AT_MOST, promise)
    return kept


def _around(samples: list[tuple[float, dict[str, float]]], what: str, at: float) -> float:
    """MB on average over the minute before this time, or half of the time where that is less."""
    begin = at - min(SAMPLED_FOR, at / 2)
    return mean(sizes[what] for when, sizes in samples if begin <= when <= at + 2 and what in sizes)


PARTS = {"latency": latency, "idle": idle, "load": load, "kill": kill, "memory": memory, "gateway": gateway}
QUICK = ("latency", "idle")


def main() -> int:
    """Entry point; 1 when a promise is broken, or something is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}, or all")
    parser.add_argument("--backend", choices=("dumpcap", "tcpdump", "raw"), help="what captures (default: what live chooses)")
    parser.add_argument("--nice", type=int, help="the --nice of live (default: that of live)")
    parser.add_argument("--at", choices=("client", "server"), default="client", help="load: the interface (default client)")
    parser.add_argument("--seconds", type=int, default=60, help="load: how long (default 60)")
    parser.add_argument("--connections", type=int, default=64, help="load and kill: of wrk (default 64)")
    bodies = list(BODIES | MORE_BODIES)
    parser.add_argument("--body", choices=bodies, default="12k", help="load and kill: what is asked for (default 12k)")
    parser.add_argument("--times", type=int, default=20, help="kill: how often (default 20)")
    parser.add_argument("--minutes", type=float, default=30, help="memory and gateway: how long (default 30)")
    mark = "memory and gateway: minutes after which memory is measured first (default 5)"
    parser.add_argument("--mark", type=float, default=5, help=mark)
    parser.add_argument("--rate", type=int, default=2_000, help="memory: packets a second (default 2000)")
    parser.add_argument("--gateways", type=int, default=1, help="gateway: how many; several with -i any (default 1)")
    parser.add_argument("--hold", type=int, default=0, help="gateway: other connections that stay open (default 0)")
    limit = "gateway: a lower limit of limits.py, such as COMPARED_ROWS=50000 (repeatable)"
    parser.add_argument("--limit", action="append", default=[], metavar="NAME=VALUE", help=limit)
    options = parser.parse_args()
    parts = list(PARTS) if "all" in options.parts else options.parts or QUICK
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no part is called {', '.join(sorted(unknown))}")
    if absent := missing(*NEEDED):
        print(absent, file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as with Ctrl-C nothing stays behind
    kept = [PARTS[part](options) for part in parts]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
