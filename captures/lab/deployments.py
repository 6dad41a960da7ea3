"""Deploy servers again while ten clients use them, and check that each stop is reported as one stop and as nothing else.

    python captures/lab/deployments.py make FOLDER [--count N] [--first N] [--jobs N] [--only NAME,...]
    python captures/lab/deployments.py score FOLDER [--python PYTHON] [--jobs N] [--only NAME,...]

Eight servers are reloaded, restarted, drained or stopped as their manuals say, two or three times in a recording, at a round trip
of 0 to 40 ms. Seven clients send requests more often than the server's idle timeout, three do not, so wiredoctor can also learn
the idle timeout. NAME.json beside NAME-client.pcap and so on contains the idle timeout, and when each process was told to end.
Run `make` as root. A recording takes half a minute.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import software
from batch import is_wanted, make_missing, parser_of, reports
from impairments import Conditions
from network import cable, tcpdump
from race_servers import DEVNULL, PORT, SERVERS, built
from scenario import PEERS, Lab

if TYPE_CHECKING:
    from argparse import Namespace

WITHIN = 120.0
"""The maximum duration of a recording in seconds; after that, it has failed."""

AFTER = 3.0
"""The time in seconds after a signal in which closes may belong to the stop, because servers drain for a while."""

BEFORE = 0.05
"""The time in seconds before a signal in which closes may belong to the stop. A connection whose idle timeout expired just then
is counted among those that closed at nearly the same time.
"""

HAPROXY = """\
global
    maxconn 400
    nbthread 1
    stats socket {folder}/haproxy.sock mode 600
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive {limit}ms
frontend web
    bind :{port}
    http-request return status 200 content-type text/plain string "twenty bytes or so.."
"""

CADDY = """\
{{
    admin off
    auto_https off
    grace_period 2s
    servers {{
        timeouts {{
            idle {limit}ms
        }}
    }}
}}
:{port} {{
    respond "twenty bytes or so.."
}}
"""


def _kept(*words: str) -> list[str]:
    return [sys.executable, str(PEERS / "keeper.py"), *words]


def _haproxy(lab: Lab, _binaries: Path, limit: float) -> subprocess.Popen[bytes]:
    conf = lab.file("haproxy.cfg", HAPROXY.format(folder=lab.folder, limit=int(limit * 1000), port=PORT))
    return lab.server.start("haproxy", "-W", "-db", "-q", "-f", conf, **DEVNULL)


def _caddy(lab: Lab, _binaries: Path, limit: float) -> subprocess.Popen[bytes]:
    conf = lab.file("Caddyfile", CADDY.format(limit=int(limit * 1000), port=PORT))
    environment = {**os.environ, **dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(lab.folder))}
    words = _kept("caddy", "run", "--config", conf, "--adapter", "caddyfile")
    return lab.server.start(*words, env=environment, **DEVNULL)


def _go(lab: Lab, binaries: Path, limit: float) -> subprocess.Popen[bytes]:
    words = _kept(str(built(binaries, lab.server, "mortal.go")), str(PORT), str(int(limit * 1000)), "graceful")
    return lab.server.start(*words, **DEVNULL)


def _of(name: str, workers: int = 1) -> Callable[[Lab, Path, float], subprocess.Popen[bytes]]:
    return lambda lab, binaries, limit: SERVERS[name].start(lab, binaries, limit, workers)


@dataclass(frozen=True)
class Deployed:
    """How a server is started, its program, and how it is deployed again.

    `ways`: pairs of a signal and its target: the parent, or its children. With "stop", the server ends, and is started again
    later.
    """

    start: Callable[[Lab, Path, float], subprocess.Popen[bytes]]
    software: str
    ways: tuple[tuple[str, str], ...]
    drains: bool = False
    """True if the last responses of the server have Connection: close, so no connection may be idle when the server ends."""


DEPLOYED = {
    "nginx": Deployed(_of("nginx", 2), "nginx", (("SIGHUP", "parent"), ("SIGQUIT", "stop"), ("SIGTERM", "stop"))),
    "apache": Deployed(_of("apache"), "apache2", (("SIGUSR1", "parent"), ("SIGHUP", "parent"), ("SIGWINCH", "stop"))),
    "node": Deployed(_of("node", 2), "node", (("SIGTERM", "children"),)),
    "go": Deployed(_go, "go", (("SIGTERM", "children"),)),
    "haproxy": Deployed(_haproxy, "haproxy", (("SIGUSR2", "parent"), ("SIGUSR1", "stop"), ("SIGTERM", "stop"))),
    "gunicorn": Deployed(
        _of("gunicorn", 2), "gunicorn", (("SIGHUP", "parent"), ("SIGTERM", "stop"), ("SIGQUIT", "stop")), drains=True
    ),
    "uvicorn": Deployed(_of("uvicorn"), "uvicorn", (("SIGTERM", "children"),)),
    "caddy": Deployed(_caddy, "caddy", (("SIGTERM", "children"),)),
}


@dataclass
class Plan:
    """A recording: the server, its idle timeout, how it is deployed, the round trip, the capture points, and the clients."""

    name: str
    server: str
    how: tuple[str, str]
    limit: float
    rtt: float
    at: tuple[str, ...]
    times: tuple[float, ...]
    """The times in seconds after the first request at which the server is deployed."""

    seconds: float
    clients: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


def planned(name: str) -> Plan:
    """Return the plan of the recording with this name."""
    number = int(name.rpartition("-")[2])
    chance = random.Random(name)
    server = [*DEPLOYED][number % len(DEPLOYED)]
    ways = DEPLOYED[server].ways
    limit = chance.choice((2.0, 3.0))
    rtt = chance.choice((0.0, 0.0, 0.0, 0.005, 0.04))
    times = tuple(8.0 + 7.0 * n + chance.uniform(0, 2) for n in range(2))
    clients: list[dict[str, Any]] = [
        {"agent": f"client-{n}/1.0", "period": chance.uniform(0.15, 0.6) * limit, "connections": chance.choice((1, 1, 2, 3)),
         "looks": chance.random() < 0.8}
        for n in range(7)
    ]  # fmt: skip
    clients += [
        {"agent": f"rare-{n}/1.0", "period": chance.uniform(1.5, 2.0) * limit, "connections": 1, "looks": True} for n in range(3)
    ]
    at = ("client", "server") if chance.random() < 0.7 else ("client",)
    return Plan(name, server, ways[number // len(DEPLOYED) % len(ways)], limit, rtt, at, times, times[-1] + 7.0, clients)


def make(folder: Path, plan: Plan) -> None:
    """Record a plan at its capture points."""
    deployed = DEPLOYED[plan.server]
    paths = {point: folder / f"{plan.name}-{point}.pcap" for point in plan.at}
    conditions = Conditions(plan.rtt / 2) if plan.rtt else None
    with tempfile.TemporaryDirectory() as name, cable(conditions) as (client, server, wire), ExitStack() as recordings:
        lab = Lab(client, server, Path(name), None)
        lab.folder.chmod(0o755)
        parent = deployed.start(lab, folder / "bin", plan.limit)
        server.wait_for_listener(PORT)
        time.sleep(0.5)
        for point, path in paths.items():
            if wire:
                recordings.enter_context(wire.recorded(point, path))
            else:
                recordings.enter_context(
                    tcpdump({"client": client, "server": server}[point], path, expression=f"tcp port {PORT}")
                )
        script = lab.folder / "clients.json"
        words = {"address": "10.9.0.2", "port": PORT, "seconds": plan.seconds, "seed": plan.name, "clients": plan.clients}
        script.write_text(json.dumps(words))
        begun = time.monotonic()
        asking = client.start(sys.executable, str(PEERS / "regulars.py"), str(script), stdout=subprocess.PIPE)
        events: list[float] = []
        for after in plan.times:
            time.sleep(max(0.0, begun + after - time.monotonic()))
            events.append(time.time())
            _deploy(parent.pid, plan.how)
            if plan.how[1] == "stop":
                with suppress(subprocess.TimeoutExpired):
                    parent.wait(10)
                time.sleep(0.7)
                parent = deployed.start(lab, folder / "bin", plan.limit)
        said, _ = asking.communicate(timeout=plan.seconds + 40)
        time.sleep(0.5 + 2 * plan.rtt)
    content = asdict(plan) | {"software": [software.version(deployed.software)], "events": events, "said": json.loads(said)}
    (folder / f"{plan.name}.json").write_text(json.dumps(content, indent=1) + "\n")
    print(f"{plan.server} {plan.how} rtt {plan.rtt} limit {plan.limit}: {said.decode().strip()}")


def _deploy(parent: int, how: tuple[str, str]) -> None:
    """Send the signal to the parent, or to its children."""
    pids = [parent]
    if how[1] == "children":
        text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
        pids = [int(pid) for pid in text.split() if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, getattr(signal, how[0]))


FALSE = ("premature-close", "idle-timeout-broken-promise", "keep-alive-disabled", "no-connection-reuse")


def score(words: Namespace) -> int:
    """Print the findings of each recording; return 1 if a finding is wrong, or if a stop was not found."""
    cases = [json.loads(path.read_text()) for path in sorted(words.folder.glob("deploy-*.json"))]
    cases = [case for case in cases if is_wanted(words, case["name"], case["server"])]
    views = [(case, point) for case in cases for point in case["at"]]
    paths = [words.folder / f"{case['name']}-{point}.pcap" for case, point in views]
    totals: Counter[str] = Counter()
    for (case, point), report in zip(views, reports(words.python, paths, words.jobs), strict=True):
        counts, wrong = _judged(case, report["findings"])
        totals.update(counts)
        totals["recordings"] += 1
        mark = "  WRONG: " + "; ".join(wrong) if wrong else ""
        totals["wrong"] += bool(wrong)
        print(f"{case['name']}-{point} {case['server']} {'/'.join(case['how'])} rtt {case['rtt']:g}: {dict(counts)}{mark}")
    print(dict(totals))
    return int(bool(totals["wrong"]))


def _judged(case: dict[str, Any], found: list[dict[str, Any]]) -> tuple[Counter[str], list[str]]:
    """Count the findings of a recording by rule and kind, and describe the wrong ones."""
    counts = Counter(f"{f['rule']}{'/' + f['kind'] if f['kind'] else ''}" for f in found)
    wrong = [f"{name} x {n}" for name, n in counts.items() if name.partition("/")[0] in FALSE or name == "idle-close/inverted"]
    stops = [_when(f) for f in found if f["kind"] == "stop"]
    for event in case["events"]:
        told = sum(-BEFORE <= time - event <= AFTER for time in stops)
        if told > 1 or not (told or DEPLOYED[case["server"]].drains):
            wrong.append(f"{told} stops told of one")
    if beside := sum(not any(-BEFORE <= time - event <= AFTER for event in case["events"]) for time in stops):
        wrong.append(f"{beside} stops where nothing ended")
    for finding in found:
        if finding["rule"] in LOST and any(0 <= _when(finding) - event <= NAMED for event in case["events"]):
            counts["named" if "ended" in finding["message"] else "not named"] += 1
        median = finding["measures"].get("limit")
        if finding["rule"] == "idle-close" and finding["kind"] is None and median is not None:
            over = median - case["limit"] - (1.0 if case["server"] == "node" else 0.0)
            if not -0.1 <= over <= 1.2:
                wrong.append(f"idle limit {median:g} s of {case['limit']:g} s")
    return counts, wrong


LOST = ("keep-alive-race", "no-response")
NAMED = 0.3
"""The time in seconds after a signal: a request that was lost in this time was lost because of the signal."""


def _when(finding: dict[str, Any]) -> float:
    return datetime.fromisoformat(finding["time"]).timestamp()


def main() -> int:
    """Run the command line."""
    parser = parser_of(__doc__, jobs=2, only="deploy-7 and the like, or a server", seeded=False)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--first", type=int, default=0)
    words = parser.parse_args()
    words.folder.mkdir(parents=True, exist_ok=True)
    if words.action == "one":
        make(words.folder, planned(words.only))
        return 0
    return _make_all(words) if words.action == "make" else score(words)


def _make_all(words: Namespace) -> int:
    """Make the missing recordings. Return the number of failures."""
    (words.folder / "bin").mkdir(exist_ok=True)
    names = [f"deploy-{n}" for n in range(words.first, words.first + words.count)]
    return make_missing(__file__, [name for name in names if is_wanted(words, name, planned(name).server)], words, WITHIN)


if __name__ == "__main__":
    sys.exit(main())
