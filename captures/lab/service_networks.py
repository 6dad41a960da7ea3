"""Record random networks of services, and count what wiredoctor says rightly of them: who called whom, and what is wrong.

    python captures/lab/service_networks.py make FOLDER [--seed N] [--count N] [--jobs N] [--only NAME,...]
    python captures/lab/service_networks.py score FOLDER [--python PYTHON] [--jobs N] [--only NAME,...] [--views VIEW,...] [-v]

NAME.pcap is a network of 3 to 12 services, captured on the bridge between their hosts, or on loopback; NAME.json is what its
programs logged (service_nodes.py). `score` reads each capture whole, cut at random, and with 96 and 200 bytes of each packet.
Run `make` as root. A recording takes 10 s, mostly waiting. Its plan (service_plans.py) depends on seed and number only.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import service_score
from batch import is_wanted, make_missing, parser_of
from network import tcpdump, until_quiet
from service_hosts import address_of, bridged
from service_nodes import Network, run
from service_plans import FAMILIES, Plan, plan

if TYPE_CHECKING:
    from argparse import Namespace

    from network import Host

WITHIN = 90.0
"""The maximum duration of a recording in seconds; after that, it has failed."""


def main() -> int:
    """Run the command line."""
    parser = parser_of(__doc__, jobs=2, only="numbers, groups or families")
    parser.add_argument("--count", type=int, default=len(FAMILIES), help="recordings")
    parser.add_argument("--views", default="whole,96,200,begin,end", metavar="VIEW,...", help="what `score` reads")
    parser.add_argument("-v", "--verbose", action="store_true", help="print each thing that is wrong")
    words = parser.parse_args()
    words.folder.mkdir(parents=True, exist_ok=True)
    if words.action == "one":
        make(words.folder, plan(int(words.only.partition("-")[0]), words.seed), words.seed)
        return 0
    if words.action == "make":
        return make_all(words)
    cases = [json.loads(path.read_text()) for path in sorted(words.folder.glob("*.json"))]
    cases = [case for case in cases if is_wanted(words, str(case["number"]), case["family"], case["group"])]
    return service_score.score(words.folder, cases, words.python, words.jobs, words.views.split(","), verbose=words.verbose)


def make_all(words: Namespace) -> int:
    """Make the missing recordings. Return the number of failures."""
    cases = [plan(number, words.seed) for number in range(words.count)]
    names = [case.name for case in cases if is_wanted(words, str(case.number), case.family, case.group)]
    return make_missing(__file__, names, words, WITHIN)


def make(folder: Path, case: Plan, seed: int) -> None:
    """Record a plan, and write what is true of it."""
    path = folder / f"{case.name}.pcap"
    with ExitStack() as stack:
        files = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bridge, hosts = stack.enter_context(bridged(1 if case.local else case.hosts))
        for node in case.nodes.values():
            node["netns"] = hosts[int(node["host"])].name
            node["address"] = "127.0.0.1" if case.local or node.get("loop") else address_of(node["host"])
        parts = [files / f"{name}.pcap" for name in case.captured]
        for name, part in zip(case.captured, parts, strict=True):
            stack.enter_context(tcpdump(hosts[int(case.nodes[name]["host"])], part, interface="any"))
        if not parts:
            where = (hosts[0], "lo") if case.local else (bridge, "br0")
            stack.enter_context(tcpdump(where[0], path, interface=where[1], expression=case.only))
        for node in case.nodes.values():
            if node["do"] == "nginx":
                start_nginx(case, node, hosts[int(node["host"])], files)
        network = Network(case.nodes, f"{seed}-{case.number}")
        asyncio.run(run(network, case.users))
        for part in parts:
            until_quiet(part)
        _merge(parts, case.clocks, path)
    for kept in ("96", "200"):
        subprocess.run(["editcap", "-s", kept, str(path), str(path.with_suffix(f".{kept}.pcap"))], check=True, timeout=60)
    _cut(path, network.chance.uniform(0.3, 0.7))
    truth = asdict(case) | {"name": case.name, "exchanges": _exchanges(network.log)}
    path.with_suffix(".json").write_text(json.dumps(truth) + "\n")


def _merge(parts: list[Path], clocks: list[float], path: Path) -> None:
    """Merge the captures of several hosts, each with the error (s) of its clock."""
    for part, error in zip(parts, clocks, strict=True):
        subprocess.run(["editcap", "-t", f"{error:.6f}", str(part), str(part.with_suffix(".late"))], check=True, timeout=60)
    if parts:
        late = [str(part.with_suffix(".late")) for part in parts]
        subprocess.run(["mergecap", "-F", "pcap", "-w", str(path), *late], check=True, timeout=60)


def _cut(path: Path, share: float) -> None:
    """Write the first packets of a capture, and the rest without them, as two more captures."""
    said = subprocess.run(["capinfos", "-M", "-r", "-T", "-c", str(path)], check=True, capture_output=True, timeout=60, text=True)
    middle = int(int(said.stdout.split()[-1]) * share)
    for name, packets in (("begin", f"1-{middle}"), ("end", f"{middle + 1}-9999999")):
        subprocess.run(["editcap", "-r", str(path), str(path.with_suffix(f".{name}.pcap")), packets], check=True, timeout=60)


_ASKED = {"auth": "auth_request", "mirror": "mirror"}
"""The other services that nginx asks for each request, and its directives."""


def start_nginx(case: Plan, node: dict[str, Any], host: Host, folder: Path) -> None:
    """Start nginx as a gateway for the services of a node.

    `read`: its time limit (s). `strip`: the prefix that it removes. `closing`: it does not keep connections. `auth`, `mirror`:
    the services that it asks for each request, too.
    """
    keep = "" if node.get("closing") else "keepalive 16;"
    upstreams: dict[str, list[str]] = {"app": node["services"]} | {name: [node[name]] for name in _ASKED if node.get(name)}
    asks = 'proxy_pass_request_body off; proxy_set_header Content-Length "";'
    inner = {"auth": f"proxy_pass http://auth$request_uri; {asks}", "mirror": "proxy_pass http://mirror$request_uri;"}
    asked = [name for name in _ASKED if node.get(name)]
    strip = node.get("strip", "")
    first = " ".join(f"{_ASKED[name]} /{name};" for name in asked)
    temporary = " ".join(f"{name}_temp_path {folder}/{name};" for name in ("proxy", "fastcgi", "uwsgi", "scgi", "client_body"))
    lines = [
        f"daemon off; user root; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn;",
        "events { worker_connections 512; }",
        f"http {{ access_log off; {temporary} keepalive_requests 100000;",
        "" if node.get("closing") else 'proxy_http_version 1.1; proxy_set_header Connection "";',
        f"proxy_read_timeout {round(1000 * node.get('read', 10))}ms; proxy_buffering {'off' if node.get('read') else 'on'};",
        *(f"upstream {name} {{ {_servers(case, some)} {keep} }}" for name, some in upstreams.items()),
        f"server {{ listen {node['port']};",
        f"location {strip}/ {{ {first} proxy_pass http://app{'/' if strip else ''}; }}",
        *(f"location = /{name} {{ internal; {inner[name]} }}" for name in asked),
        "} }",
    ]
    (folder / "nginx.conf").write_text("\n".join(lines) + "\n")
    host.serve(node["port"], "nginx", "-c", str(folder / "nginx.conf"))


def _servers(case: Plan, names: list[str]) -> str:
    """Return the servers of an upstream of nginx."""
    return " ".join(f"server {case.nodes[name]['address']}:{case.nodes[name]['port']} max_fails=0;" for name in names)


def _exchanges(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return every request that was sent, with the request for which it was made.

    What nginx sent has no sender in the log: the hidden identifier in X-Lab names the request of the user.
    """
    sent = [row for row in log if "from" in row]
    users = {row["lab"]: row["place"] for row in sent if row.get("lab")}
    known = {tuple(row["place"]) for row in sent if row["place"]}
    sent += [
        {
            "place": row["place"],
            "parent": users[row["lab"]],
            "forwards": row["node"] not in ("auth", "shadow"),
            "from": "nginx",
            "to": row["node"],
        }
        for row in log
        if "node" in row and tuple(row["place"]) not in known
    ]
    return sent


if __name__ == "__main__":
    sys.exit(main())
