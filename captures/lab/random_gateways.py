"""Record random failures at gateways, on both sides of the gateways, and count how many wiredoctor explains correctly.

    python captures/lab/random_gateways.py make FOLDER [--seed N] [--count N] [--jobs N] [--only NAME,...]
    python captures/lab/random_gateways.py score FOLDER [--python PYTHON] [--jobs N] [--only NAME,...] [-v]

NAME.pcap contains both sides of a gateway (nginx, haproxy, Apache httpd, Caddy, Go's ReverseProxy) or of two in a row,
NAME-front.pcap the front alone, and NAME.json what is true of both; README.md in the folder describes it. Run `make` as root. A
recording takes 10 s, mostly waiting. Its plan (gateway_plans.py) depends on seed and number only.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gateway_score
import gateway_truth
import software
from batch import is_wanted, make_missing, parser_of
from gateway_plans import Plan, Request, kinds, plan
from gateways import INNER, Gateway, start_servers
from impairments import Conditions
from network import PROXY_FRONT, Host, cable, tcpdump, user_before
from scenario import PEERS

if TYPE_CHECKING:
    from argparse import Namespace

WITHIN = 120.0
"""The maximum duration of a recording in seconds; after that, it has failed."""

README = """\
# Gateways recorded on both sides

Made by `captures/lab/random_gateways.py make`; `score` of the same script reads it. NAME.pcap has both sides, NAME-front.pcap
what is to and from port 80 alone. NAME.json:

- `makers`: the gateways, the outermost first; `place`: any (three hosts, captured on the gateway), lo (all on 127.0.0.1), delay
  (as any, `delay` seconds to the servers, one way); `form`: where the id of a request is that truth was taken from: header
  (X-Request-Id), query (?id=), hidden (X-Lab, which is nothing that a gateway or wiredoctor knows).
- `exchanges`: every request: `client` and `server` (address:port), `index` on its connection, `connection` (tcp.stream),
  `id`, `role`: front (of the outermost gateway), middle (between two gateways), back.
- `pairs`: all true pairs [front connection, front index, back connection, back index] of neighbors: front and back, or front and
  middle, and middle and back. A front with several backs was repeated, in order of time.
- `failures`: for every request of a client: its front exchange, `deed` (what the server was told to do, or the route), `got`
  (answered, cut, closed, left, garbage), `status`, `by` (the server whose answer it is; null: the gateway's own), and `kinds`, of
  which one is right: kinds of `gateway-error`, `passed-on`, or `none`; null: failed without having been meant to, not judged.

Several clients wait at the same time in many of these. Whose a connection attempt was (refused, or never answered) is known
where a gateway tries one thing at a time: a front exchange that has a try under way when the SYN is sent is not meant.
"""


def main() -> int:
    """Run the command line."""
    parser = parser_of(__doc__, jobs=4, only="numbers, families or makers")
    parser.add_argument("--count", type=int, default=80, help="recordings")
    parser.add_argument("-v", "--verbose", action="store_true", help="print each thing that is wrong")
    words = parser.parse_args()
    words.folder.mkdir(parents=True, exist_ok=True)
    if words.action == "one":
        make(words.folder, plan(int(words.only.partition("-")[0]), words.seed))
        return 0
    if words.action == "make":
        return make_all(words)
    cases = [json.loads(path.read_text()) for path in sorted(words.folder.glob("*.json"))]
    cases = [case for case in cases if is_wanted(words, str(case["number"]), case["family"], *case["makers"])]
    return gateway_score.score(words.folder, cases, words.python, words.jobs, verbose=words.verbose)


def make_all(words: Namespace) -> int:
    """Make the missing recordings. Return the number of failures."""
    (words.folder / "README.md").write_text(README)
    cases = [plan(number, words.seed) for number in range(words.count)]
    names = [case.name for case in cases if is_wanted(words, str(case.number), case.family, *case.makers)]
    return make_missing(__file__, names, words, WITHIN)


def make(folder: Path, case: Plan) -> None:
    """Record a plan, and write what is true of it."""
    both, front = folder / f"{case.name}.pcap", folder / f"{case.name}-front.pcap"
    conditions = Conditions(case.delay) if case.delay else None
    with tempfile.TemporaryDirectory() as name, cable(conditions) as (proxy, far, _), ExitStack() as recordings:
        local = case.place == "lo"
        servers = proxy if local else far
        user = proxy if local else recordings.enter_context(user_before(proxy))
        start_servers(servers, Path(name), *case.ports)
        address = "127.0.0.1" if local else far.address
        last = len(case.makers) - 1
        for turn, maker in reversed(list(enumerate(case.makers))):
            read = case.read if turn == last else case.outer_read
            behind = INNER if turn < last else None
            gateway = Gateway(maker, INNER if turn else 80, address, read=read, pooled=case.pooled, behind=behind)
            gateway.start(proxy, Path(name) / f"{maker}-{turn}")
        interface = "lo" if local else "any"
        recordings.enter_context(tcpdump(proxy, both, interface=interface))
        recordings.enter_context(tcpdump(proxy, front, interface=interface, expression="tcp port 80"))
        said = _ask(case, user, "127.0.0.1" if local else PROXY_FRONT, Path(name))
        time.sleep(0.5)
    exchanges = _exchanges(both, case.form)
    truth = asdict(case) | {
        "name": case.name,
        "software": [software.version({"httpd": "apache2"}.get(maker, maker)) for maker in case.makers],
        "exchanges": exchanges,
        "pairs": _pairs(exchanges),
        "failures": _failures(case, exchanges, said),
    }
    del truth["clients"]
    (folder / f"{case.name}.json").write_text(json.dumps(truth, indent=1) + "\n")


def _ask(case: Plan, user: Host, address: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Run the clients; return their results by request id."""
    path = folder / "plan.json"
    path.write_text(json.dumps(case.clients))
    done = user.run(sys.executable, str(PEERS / "told_client.py"), address, "80", str(path))
    said = [json.loads(line) for line in done.stdout.splitlines()]
    return {one["id"]: one for one in said}


def _exchanges(path: Path, form: str) -> list[dict[str, Any]]:
    """Return every request of a capture, in the order of connections."""
    pattern = {"header": rb"X-Request-Id: (r\d+)", "query": rb"^\S+ \S+[?&]id=(r\d+)", "hidden": rb"X-Lab: (r\d+)"}[form]
    found = list[dict[str, Any]]()
    for connection in gateway_truth.connections(path):
        role = {"80": "front", str(INNER): "middle"}.get(connection.server.rpartition(":")[2], "back")
        for index, (head, frame) in enumerate(connection.requests()):
            key = re.search(pattern, head, re.IGNORECASE)
            assert key, f"{path.name}: a request without an id in frame {frame}"
            ends = {"client": connection.client, "server": connection.server, "connection": connection.number, "index": index}
            found.append({**ends, "id": key[1].decode(), "frame": frame, "role": role})
    return found


ROLES = ("front", "middle", "back")


def _pairs(exchanges: list[dict[str, Any]]) -> list[list[int]]:
    """Pair each request with the newest earlier request that has the same id and is one gateway nearer to the client."""
    pairs = list[list[int]]()
    for one in exchanges:
        same = [other for other in exchanges if other["id"] == one["id"] and other["frame"] < one["frame"]]
        before = [other for other in same if ROLES.index(other["role"]) < ROLES.index(one["role"])]
        if before:
            last = max(before, key=lambda other: (ROLES.index(other["role"]), other["frame"]))
            pairs.append([last["connection"], last["index"], one["connection"], one["index"]])
    return pairs


def _failures(case: Plan, exchanges: list[dict[str, Any]], said: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    places = {one["id"]: one for one in exchanges if one["role"] == "front"}
    requests: list[Request] = [request for client in case.clients for request in client]
    return [
        {name: places[request["id"]][name] for name in ("client", "server", "connection", "index")}
        | {"id": request["id"], "deed": request["deed"] or request.get("route", ""), "method": request["method"]}
        | {name: said[request["id"]][name] for name in ("got", "status", "by")}
        | {"kinds": kinds(case, request, said[request["id"]])}
        for request in requests
        if request["id"] in places and request["id"] in said
    ]


if __name__ == "__main__":
    sys.exit(main())
