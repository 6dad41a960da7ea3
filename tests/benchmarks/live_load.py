"""Measure `wiredoctor live` under the highest load of wrk and nginx: nothing is lost, and nothing remains if the analysis is
killed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import time
from pathlib import Path

from live_watching import Live, analyze, given, in_file, lab, name_of, passed
from marks import verdict
from record_http import ask, serve

RATE_AT_LEAST = 100_000
BEHIND_AT_MOST, BEHIND_IF_NICE = 10.0, 20.0
ORPHANS_AT_MOST = 1.0
"""Packets a second that the load must have; seconds from the end of the traffic to the end of the analysis, with
--nice 0 and without; seconds that processes of ours may outlive the analysis."""

KILLED_AFTER = (1.0, 6.0)
RINGS = 3
"""Seconds after which the analysis is killed; how often that is done without a file to keep."""


def load(options: argparse.Namespace) -> bool:
    """All packets of wrk and nginx at the highest rate: what is in the file, and how long the analysis takes behind it."""
    with lab() as (client, server, folder):
        serve(server, folder)
        host = server if options.at == "server" else client
        before = passed(host)
        live = Live(host, folder, "--write", "load.pcapng", *given(options), terminal=True)
        print(live.until_begun(), flush=True)
        wrk = ask(client, folder, options.seconds, options.connections, options.body)
        begun, first = time.monotonic(), passed(host)
        wrk.wait(options.seconds + 60)
        seconds, packets = time.monotonic() - begun, passed(host) - first
        ended, lag, cpu = time.monotonic(), live.lag(), live.each_cpu()
        each = ", ".join(f"{what} {took:.0f}" for what, took in cpu.items())
        print(f"CPU in s: {each}; at the end of the traffic the analysis was {lag}")
        live.stop()
        behind = time.monotonic() - ended
        total, dropped = passed(host) - before, live.dropped()
        counted, complaint = in_file(folder / "load.pcapng")
        size = (folder / "load.pcapng").stat().st_size / 1e9
    lost = total - counted - dropped
    file = f"{counted:,} of {total:,} in the file ({size:.1f} GB)"
    print(f"{packets:,} packets in {seconds:.0f} s; {file}, {dropped:,} dropped by the kernel")
    rate, most = packets / seconds, BEHIND_AT_MOST if options.nice == 0 else BEHIND_IF_NICE
    return all([
        verdict("packets a second", f"{rate:,.0f}", rate >= RATE_AT_LEAST, f"at least {RATE_AT_LEAST:,}"),
        verdict("packets lost by us", f"{lost:,}", lost == 0 and not complaint, f"none {complaint}"),
        verdict("end of the analysis after the traffic, s", f"{behind:.1f}", behind < most, f"less than {most:.0f}"),
    ])  # fmt: skip


def kill(options: argparse.Namespace) -> bool:
    """The analysis is killed under load, again and again: what it leaves behind."""
    whole, outlived, left = 0, list[float](), 0
    with lab() as (client, server, folder):
        serve(server, folder)
        for number in range(options.times + RINGS):
            kept = number < options.times
            wrk = ask(client, folder, 60, options.connections, options.body)
            live = Live(client, folder, *(("--write", "kill.pcapng") if kept else ()), *given(options))
            live.until_begun()
            after = random.uniform(*KILLED_AFTER)
            time.sleep(after)
            took, last = _until_nothing_runs(live)
            outlived.append(took)
            wrk.terminate()
            wrk.wait()
            good, what = _whole(folder) if kept else (False, "in a ring")
            whole += good
            here = list(live.temporary.iterdir())
            left += len(here)
            print(
                f"{number + 1:2}: killed after {after:.1f} s, {what}; the last of us ({last}) ended {took:.2f} s later",
                flush=True,
            )
            for path in here:
                shutil.rmtree(path)
    print(f"temporary folders left: {left}")
    return all([
        verdict("files that are whole", str(whole), whole == options.times, f"{options.times}"),
        verdict("processes of ours outlive it, worst, s", f"{max(outlived):.2f}", max(outlived) <= ORPHANS_AT_MOST, "at most 1"),
    ])  # fmt: skip


def _whole(folder: Path) -> tuple[bool, str]:
    """Whether the file can be read to its end, by others and by us; and in words."""
    counted, complaint = in_file(folder / "kill.pcapng")
    report = analyze(folder, "kill.pcapng", "kill.json")["captures"][0]
    good = not complaint and report["damage"] is None and report["packets"] == counted > 0
    return good, f"{counted:,} packets {'whole' if good else 'BROKEN'} {complaint} {report['damage'] or ''}".strip()


def _until_nothing_runs(live: Live) -> tuple[float, str]:
    """Kills the analysis; seconds until no process of it runs any more, of ten that are waited for, and which was the last."""
    running, last = live.processes(), "analysis"
    live.process.kill()
    begun = time.monotonic()
    live.process.wait()
    while (left := [what for one, what in running.items() if name_of(one)]) and time.monotonic() - begun < 10:
        last = left[-1]
        time.sleep(0.02)
    took = time.monotonic() - begun
    for one, what in live.processes().items():  # also what has been started since
        print(f"still running: {what}")
        os.kill(one, signal.SIGKILL)
        took = 10.0
    return took, last
