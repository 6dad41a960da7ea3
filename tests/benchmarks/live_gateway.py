"""Measure `wiredoctor live` beside gateways with some 200 requests a second: how late it tells, and what it takes."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any, NamedTuple

import live_gateway_traffic as traffic
import marks
from live_traffic import BY_CLOSES
from live_watching import ENDED_WITHIN, Live, Said, delay, given, lab, passed, size_of, waited

if TYPE_CHECKING:
    from record_http import Host

TRAFFIC = str(Path(__file__).with_name("live_gateway_traffic.py"))
DRIVER = (sys.executable, str(Path(__file__).with_name("live_driver.py")))
MINUTE = 60

BUSY = 5
"""% of the time for which the analysis waited for a processor. Above that, findings are later than on an idle machine, and the
analysis takes less CPU, because it looks less often."""

OPEN_CONNECTION = 0.004
"""MB that an open connection may take (docs/pages/how-it-works.md); those of --hold are not counted."""

LATER = BY_CLOSES | {"gateway-error", "keep-alive-race"}
"""Rules whose findings wait for a close: that of the client's connection, or of the one behind the gateway."""


class Sample(NamedTuple):
    """What is known from outside: seconds since the traffic began, RssAnon of the analysis (MB), CPU seconds of all processes,
    and seconds for which the analysis has waited for a processor."""

    at: float
    anonymous: float
    cpu: float
    waited: float


def gateway(options: argparse.Namespace) -> bool:
    """Play the gateway's traffic for some minutes, then end `live` with SIGTERM while it goes on."""
    with lab() as (_, host, folder):
        _serve(host, folder, options.gateways)
        limits = [word for limit in options.limit for word in ("--limit", limit)]
        interface = "lo" if options.gateways == 1 else "any"
        words = ("--filter", traffic.FILTER, "-o", "report.json", *given(options))
        live = Live(host, folder, *words, interface=interface, command=(*DRIVER, *limits))
        print(live.until_begun(), flush=True)
        _hold(host, options.hold)
        _traffic(host, "load", options.gateways)
        begun, samples, packets = time.time_ns(), list[Sample](), passed(host, "lo") // 2
        while (now := (time.time_ns() - begun) / 1e9) < options.minutes * MINUTE and live.process.poll() is None:
            time.sleep(1)
            pid = live.process.pid
            samples.append(Sample(now, size_of(pid, "RssAnon"), live.cpu(), waited(pid)))
            if len(samples) > 1 and samples[-1].at // MINUTE > samples[-2].at // MINUTE:
                _tell(live, samples, begun)
        packets = passed(host, "lo") // 2 - packets
        print(f"{packets / now:,.0f} packets a second; {len(live.said)} findings until the end", flush=True)
        return _judge(live, samples, begun, options)


def _serve(host: Host, folder: Path, count: int) -> None:
    (folder / "gateway.conf").write_text(traffic.nginx(str(folder), count))
    host.serve(traffic.GATEWAY_PORT, "nginx", "-c", str(folder / "gateway.conf"), stderr=subprocess.DEVNULL)
    _traffic(host, "serve", count)
    host.wait_for_listener(traffic.SERVER_PORT)


def _traffic(host: Host, what: str, *numbers: int) -> None:
    host.start(sys.executable, TRAFFIC, what, *map(str, numbers))


def _hold(host: Host, connections: int) -> None:
    """Open so many connections that stay open, and wait until they are."""
    for number, first in enumerate(range(0, connections, traffic.HELD_BY_ONE)):
        _traffic(host, "hold", min(traffic.HELD_BY_ONE, connections - first), number)
    deadline = time.monotonic() + 2 * traffic.HELD_BY_ONE / traffic.HELD_A_SECOND + 20
    while (found := _established(host)) < connections and time.monotonic() < deadline:
        time.sleep(1)
    if connections:
        print(f"{found:,} connections stay open", flush=True)


def _established(host: Host) -> int:
    words = ("ss", "-Htn", "state", "established", "dst", "127.0.3.0/24")
    return len(host.run(*words).stdout.splitlines())


def _looks(live: Live) -> list[dict[str, Any]]:
    """What live_driver.py has written of each minute."""
    return [json.loads(line.removeprefix("looks ")) for line in list(live.notes) if line.startswith("looks ")]


def _shares(samples: list[Sample], begin: float, end: float) -> tuple[float, float]:
    """CPU of all processes between two times, and for how long the analysis waited for a processor; both in % of the time."""
    inside = [one for one in samples if begin <= one.at <= end]
    first, last = inside[0], inside[-1]
    passed = max(last.at - first.at, 1e-9)
    return 100 * (last.cpu - first.cpu) / passed, 100 * (last.waited - first.waited) / passed


def _anonymous(samples: list[Sample], end: float) -> float:
    """Mean RssAnon of the minute before this time, in MB."""
    return mean([one.anonymous for one in samples if end - MINUTE <= one.at <= end] or [0])


def _tell(live: Live, samples: list[Sample], begun: int) -> None:
    """Print a line about the last minute."""
    now = samples[-1].at
    cpu, waits = _shares(samples, now - MINUTE, now)
    looks = (_looks(live) or [{"longest": 0, "behind": 0, "total": 0, "looks": 0}])[-1]
    worst = max((delay(one) for one in live.said if one.time - begun > (now - MINUTE) * 1e9), default=0)
    print(
        f"{now / MINUTE:3.0f} min: {cpu:.0f} % of a core, waited for one {waits:.0f} %; {looks['looks']} looks in "
        f"{looks['total']:.0f} s of CPU, longest {looks['longest']:.2f} s; at most {looks['behind']:.1f} s behind; told after "
        f"{worst:.1f} s at most; VmHWM {size_of(live.process.pid, 'VmHWM'):.0f} MB, RssAnon {_anonymous(samples, now):.0f} MB",
        flush=True,
    )


def _judge(live: Live, samples: list[Sample], begun: int, options: argparse.Namespace) -> bool:
    """End `live`, and print each figure beside its mark."""
    length = samples[-1].at
    peak = size_of(live.process.pid, "VmHWM")
    said = live.said
    took, peak_of_all = _end(live)
    looks = _looks(live)
    kept = [_in_time(said, begun, end) for end in (length / 3, length)]
    early = min(options.mark * MINUTE, length / 2)
    growth = _anonymous(samples, length) - _anonymous(samples, early)
    print(f"mean RssAnon: {_anonymous(samples, early):.0f} MB after {early / MINUTE:.1f} min, then {growth:+.0f}")
    behind = max((one["behind"] for one in looks), default=0)
    print(f"at most {behind:.1f} s behind; VmHWM with the report: {peak_of_all:.0f} MB")
    cpu, waits = _shares(samples, 0, length)
    if waits > BUSY:
        print(f"BUSY MACHINE: the analysis waited for a processor for {waits:.0f} % of the time; otherwise it takes more CPU")
    longest = max((one["longest"] for one in looks), default=float("inf"))
    return all([
        *kept,
        marks.judge("longest look, s of CPU", longest, marks.LIVE_LOOK),
        marks.judge("VmHWM until the report begins, MB", peak - options.hold * OPEN_CONNECTION, marks.LIVE_MEMORY),
        marks.judge("RssAnon, last minute less an early one, MB", growth, marks.LIVE_MEMORY_GROWTH),
        marks.judge("CPU of all processes, % of a core", cpu, marks.LIVE_CPU),
        marks.judge("CPU in the last minute, % of a core", _shares(samples, length - MINUTE, length)[0], marks.LIVE_CPU),
        marks.judge("from SIGTERM to the written report, s", took, marks.LIVE_END),
    ])  # fmt: skip


def _end(live: Live) -> tuple[float, float]:
    """End `live` with SIGTERM: seconds until it has ended (infinity if it does not), and its peak memory in MB."""
    begun, peak = time.monotonic(), 0.0
    live.process.send_signal(signal.SIGTERM)
    while live.process.poll() is None and time.monotonic() - begun < ENDED_WITHIN:
        peak = max(peak, size_of(live.process.pid, "VmHWM"))
        time.sleep(0.05)
    took = time.monotonic() - begun
    time.sleep(0.5)  # what the pipes still hold is read
    if live.process.returncode == 0 and (live.folder / "report.json").exists():
        return took, peak
    with contextlib.suppress(ProcessLookupError):
        live.process.kill()
    print(f"no report: live ended with {live.process.returncode} after {took:.0f} s", *live.notes[-5:], sep="\n")
    return float("inf"), peak


def _in_time(said: list[Said], begun: int, end: float) -> bool:
    """How late the findings were that were told in the minute before this time."""
    inside = [one for one in said if (end - MINUTE) * 1e9 <= one.time - begun <= end * 1e9]
    kept = []
    for rule in sorted({one.finding["rule"] for one in inside}):
        delays = [delay(one) for one in inside if one.finding["rule"] == rule]
        mark = marks.LIVE_TOLD_OF_CLOSES if rule in LATER else marks.LIVE_TOLD
        what = f"{rule}, {end / MINUTE:.0f} min, worst of {len(delays)}, s"
        kept.append(marks.judge(what, max(delays), mark))
        print(f"{'':44} {median(delays):12.2f}   the median")
    return bool(kept) and all(kept)
