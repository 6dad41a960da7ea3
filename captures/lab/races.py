"""Record hundreds of requests that met a server's idle timeout, or whose server ended, and check what is reported for each.

    python captures/lab/races.py make FOLDER [--seed N] [--count N] [--jobs N] [--only NAME,...]
    python captures/lab/races.py score FOLDER [--python PYTHON] [--jobs N] [--only NAME,...] [--list WORD]

The servers are real, as are the pools and proxies that reuse their connections; the round trip is 0 to 150 ms. `race-N`: requests
that are sent when the idle timeout expires. `crash-N`: processes that are killed, restarted and recycled, or end in a handler.
`purpose-N`: deliberate closes. `library-N`: like race-N, with the pools of requests, httpx, aiohttp, node's http.Agent, undici,
Go, Java, OkHttp, Apache HttpClient 4 and 5, .NET, Net::HTTP::Persistent, Excon, Guzzle and reqwest. NAME.json beside
NAME-client.pcap and so on says how each lost request was lost, according to the packets (race_truth.py) and to what was done to
the server, never according to wiredoctor. Run `make` as root. A recording takes about a minute, mostly waiting.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import race_scores
import race_truth
import software
from batch import is_wanted, make_missing, parser_of
from impairments import Conditions
from network import Host, cable, tcpdump
from race_plans import FAMILIES, LONG, Plan, planned
from race_servers import FRONT, LIBRARIES, PORT, SERVERS, built, proxy
from scenario import PEERS, Lab

if TYPE_CHECKING:
    from argparse import Namespace

WITHIN = 200.0
"""The maximum duration of a recording in seconds; after that, it has failed."""

JAVA = {
    "java": "ClientPool$OfJava",
    "okhttp": "OkHttpPool",
    "httpclient4": "HttpClient4Pool",
    "httpclient5": "HttpClient5Pool",
}
"""The class of each pool in Java."""

ENDED_TOGETHER = 1.0
"""The time in seconds after the end of a process in which its connections end."""


def main() -> int:
    """Run the command line."""
    parser = parser_of(__doc__, "truth", jobs=3, only="race-7 and the like, a family, a server, a client or a proxy")
    parser.add_argument("--count", type=int, default=60, help="recordings of each family")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--list", default="", metavar="WORD", help="list the lost requests whose label or answer has this word")
    words = parser.parse_args()
    words.folder.mkdir(parents=True, exist_ok=True)
    if words.action == "one":
        make(words.folder, planned(words.only, words.seed))
        return 0
    if words.action == "truth":
        for path in sorted(words.folder.glob("*-*.json")):
            judge(words.folder, json.loads(path.read_text()))
        return 0
    return make_all(words) if words.action == "make" else race_scores.score(words)


def make_all(words: Namespace) -> int:
    """Make the missing recordings. Return the number of failures."""
    (words.folder / "bin").mkdir(exist_ok=True)
    names = [f"{family}-{n}" for n in range(words.first, words.first + words.count) for family in FAMILIES]
    plans = [planned(name, words.seed) for name in names]
    wanted = [one.name for one in plans if is_wanted(words, one.name, one.family, one.server, one.client, one.proxy)]
    return make_missing(__file__, wanted, words, WITHIN)


def make(folder: Path, plan: Plan) -> None:
    """Record a plan at its capture points, and write what is known about its requests."""
    binaries = folder / "bin"
    conditions = Conditions(plan.rtt / 2) if plan.rtt else None
    paths = {point: folder / f"{plan.name}-{point}.pcap" for point in plan.at}
    with tempfile.TemporaryDirectory() as name, cable(conditions) as (client, server, wire), ExitStack() as recordings:
        lab = Lab(client, server, Path(name), None)
        lab.folder.chmod(0o755)
        parent = SERVERS[plan.server].start(lab, binaries, plan.limit, plan.workers, *plan.more)
        server.wait_for_listener(PORT)
        if plan.server in ("java", "tomcat", "jetty"):
            server.run("curl", "-sS", "-o", "/dev/null", "--max-time", "20", f"http://127.0.0.1:{PORT}/bytes/20", check=False)
        if plan.proxy:
            proxy(lab, plan.proxy)
        time.sleep(0.5)
        for point, path in paths.items():
            host = {"client": client, "server": server, "loopback": server}[point]
            if wire:
                recordings.enter_context(wire.recorded(point, path))
            else:
                interface = "lo" if point == "loopback" else "eth0"
                recordings.enter_context(tcpdump(host, path, interface=interface, expression=f"tcp port {PORT}"))
        said = _ask(lab, binaries, plan, parent.pid)
        time.sleep(0.5 + 2 * plan.rtt)
    client = {"pool": "", "java": "java-client", "reqwest": "pyreqwest"}.get(plan.client, plan.client)
    programs = SERVERS[plan.server].software, {"apache": "apache2"}.get(plan.proxy, plan.proxy), client
    versions = [software.version(name) for name in programs if name]
    content = asdict(plan) | {"software": versions, "events": said[:-1], "said": said[-1] if said else {}}
    content = judge(folder, content)
    counts = Counter(f"{one['label']}/{one['acknowledged']}" for view in content["views"].values() for one in view["lost"])
    print(f"{plan.server} {plan.proxy} rtt {plan.rtt} limit {plan.limit} {plan.how}: {dict(counts)} {content['said']}"[:400])


def _ask(lab: Lab, binaries: Path, plan: Plan, parent: int) -> list[dict[str, Any]]:
    """Run the pool. Return what it did to processes, and its counts as the last item."""
    looped = plan.at == ("loopback",)
    host: Host = lab.server if looped else lab.client
    address, port = ("127.0.0.1", FRONT) if plan.proxy else ("127.0.0.1" if looped else "10.9.0.2", PORT)
    script = lab.folder / "pool.json"
    behind = ["127.0.0.1" if looped else "10.9.0.2", PORT]
    if plan.client != "pool":
        return _library(lab, binaries, plan, f"http://{address}:{port}")
    more = {"behind": behind, "address": address, "port": port, "parent": parent, "seed": plan.name, "rtt": plan.rtt}
    script.write_text(json.dumps(plan.pool | more))
    # ip netns exec replaces itself: the process that was started is the server, or its master.
    done = host.run(sys.executable, str(PEERS / "timed_pool.py"), str(script), timeout=plan.pool["seconds"] + 40)
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def _library(lab: Lab, binaries: Path, plan: Plan, base: str) -> list[dict[str, Any]]:
    """Run the pool of a library, while another client keeps the server busy now and then."""
    words = [base, *(str(plan.pool[name]) for name in ("connections", "seconds", "aim", "spread", "busy"))]
    client, host = plan.client, lab.client
    if client in ("requests", "httpx", "reqwest"):
        command = [sys.executable, str(PEERS / "threaded_pools.py"), client]
    elif client == "aiohttp":
        command = [sys.executable, str(PEERS / "aiohttp_pool.py")]
    elif client == "go":
        command = [str(built(binaries, host, "transport_pool.go"))]
    elif client in JAVA:
        path = f"{built(binaries, host, 'ClientPool')}:{LIBRARIES.get(JAVA[client], '')}"
        if client != "java":
            built(binaries, host, JAVA[client])
        command = ["java", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:+UseSerialGC", "-cp", path, "ClientPool", JAVA[client]]
    elif client == "dotnet":
        command = [software.dotnet(), "exec", str(built(binaries, host, "client_pool.cs"))]
    elif client in ("net-http-persistent", "excon"):
        command = ["ruby", str(PEERS / "threaded_pool.rb"), client]
    elif client == "guzzle":
        command = ["php", str(PEERS / "guzzle_pool.php")]
    else:
        command = ["node", str(PEERS / "agent_pool.js"), client]
    done = lab.client.run(*command, *words, timeout=plan.pool["seconds"] + 60)
    return [json.loads(done.stdout.decode())]


def judge(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Determine for each lost request in each capture why it was lost, and write NAME.json."""
    views: dict[str, Any] = {}
    for point in content["at"]:
        streams = race_truth.streams(folder / f"{content['name']}-{point}.pcap", PORT)
        lost = [one for stream in streams if (one := race_truth.lost(stream))]
        deaths = [one["close"] for one in lost if one["target"].split("/")[1] in ("die", "shot")]
        for one in lost:
            one["label"], one["how"] = _label(content, one, deaths)
        rests = sorted(rest for stream in streams if (rest := race_truth.idle_close(stream)) is not None)
        views[point] = {
            "connections": len(streams),
            "answered": sum(stream.responses for stream in streams),
            "idle_closes": len(rests),
            "rests": rests[:: max(1, len(rests) // 9)],
            "lost": lost,
        }
    content["views"] = views
    (folder / f"{content['name']}.json").write_text(json.dumps(content, indent=1) + "\n")
    return content


def _label(content: dict[str, Any], one: dict[str, Any], deaths: list[float]) -> tuple[str, str]:
    """Return why a request was lost, and how its server ended."""
    kind, how = one["target"].split("/")[1], content["how"]
    if one["client_first"]:
        return "client", "the client closed first"
    if content["family"] in ("race", "library"):
        return "race", f"the idle limit of {content['limit']:g} s"
    if content["family"] == "purpose":
        if kind in ("reset", "hangup", "thrown"):
            return "closed-on-purpose", kind
        return ("race", "idle limit") if content["limit"] < LONG else ("unknown", "")
    ended = [event["time"] for event in content["events"]] + deaths
    dies = kind in ("die", "shot") or how == "recycle" or any(-0.05 <= one["close"] - t <= ENDED_TOGETHER for t in ended)
    near = (one["rest"] or 0.0) >= content["limit"] - 0.1
    if not dies:
        return ("race", "idle limit") if near else ("unknown", "")
    if near and how in ("recycle", "restart", "die"):  # a request that would have ended the process may have met the limit
        return "unknown", "either"
    label = "crash" if one["acknowledged"] != "none" else "fin-race-of-dying-worker"
    return label, kind if kind in ("die", "shot") else how


if __name__ == "__main__":
    sys.exit(main())
