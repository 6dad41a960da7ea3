"""Record random faults and healthy twins with real kernels, clients and servers, and count how many are named correctly.

    python captures/lab/random_faults.py make FOLDER [--seed N] [--count N] [--jobs N] [--only NAME,...]
    python captures/lab/random_faults.py score FOLDER [--python PYTHON] [--jobs N] [--only NAME,...]

Each recording has its own pair of namespaces, a round trip of 0 to 150 ms and 0 to 3 % of loss, and is captured at the client, in
the middle and at the server. NAME.json beside NAME-client.pcap and so on contains what can be known at each point. Run `make` as
root. A recording takes 10 to 30 s, mostly waiting. Its plan (random_plans.py) depends on seed and number only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch import is_wanted, make_missing, parser_of, reports
from impairments import Conditions
from network import Host, cable
from random_plans import FAULTS, TWINS, Plan, plan
from scenario import NGINX, PEERS
from wire import POINTS

if TYPE_CHECKING:
    from argparse import Namespace

    from wire import Wire

WITHIN = 100.0
"""The maximum duration of a recording in seconds; after that, it has failed."""

ORPHANS = 7.0
"""The time in seconds for which a capture continues after the client has ended, because its kernel still retransmits."""

HARMLESS = (
    "retransmission-stall",
    "connect-retry",
    "slow-response",
    "zero-window-stall",
    "limited-transfer",
    "idle-close",
    "nagle-delayed-ack",
    "delayed-ack-stall",
)
"""Rules that may report something in recordings with losses, idle times and slow peers."""


def main() -> int:
    """Run the command line."""
    parser = parser_of(__doc__, jobs=8, only="fault-7 and the like, or the name of a family")
    parser.add_argument("--count", type=int, default=200, help="recordings with a fault, and as many without")
    words = parser.parse_args()
    words.folder.mkdir(parents=True, exist_ok=True)
    if words.action == "one":
        make(words.folder, _planned(words.only, words.seed))
        return 0
    return make_all(words) if words.action == "make" else score(words)


def _planned(name: str, seed: int) -> Plan:
    kind, _, number = name.partition("-")
    return plan(FAULTS if kind == "fault" else TWINS, int(number), seed)


def make_all(words: Namespace) -> int:
    """Make the missing recordings. Return the number of failures."""
    names = [f"{kind}-{number}" for number in range(words.count) for kind in ("fault", "twin")]
    names = [name for name in names if is_wanted(words, name, _planned(name, words.seed).family)]
    return make_missing(__file__, names, words, WITHIN)


def make(folder: Path, case: Plan) -> None:
    """Record a plan at three points, and write what can be known at each."""
    conditions = Conditions(case.rtt / 2, rate=case.loss, seed=case.number, hops=case.hops, faults=case.faults)
    paths = {point: folder / f"{case.name}-{point}.pcap" for point in POINTS}
    with tempfile.TemporaryDirectory() as name, cable(conditions) as (client, server, wire), ExitStack() as recordings:
        assert wire
        port = _serve(case, server, Path(name))
        if case.deaf:
            client.run("iptables", "-A", "INPUT", "-p", "icmp", "-j", "DROP")
            client.run("ip6tables", "-A", "INPUT", "-p", "icmpv6", "-j", "DROP")
            server.run("iptables", "-A", "INPUT", "-p", "icmp", "-j", "DROP")
            server.run("ip6tables", "-A", "INPUT", "-p", "icmpv6", "-j", "DROP")
        for point, path in paths.items():
            recordings.enter_context(wire.recorded(point, path))
        said = _ask(case, client, wire, port)
        time.sleep(case.after if case.after is not None else ORPHANS)
    for path in paths.values():
        if case.only_from or case.cut_before_end:
            _narrow(path, case, port)
    content = asdict(case) | {"name": case.name, "said": said, "faults": [repr(fault) for fault in case.faults]}
    (folder / f"{case.name}.json").write_text(json.dumps(content, indent=1) + "\n")


def _serve(case: Plan, server: Host, folder: Path) -> int:
    """Start the server; return its port."""
    if case.server == "nginx":
        root = folder / "site" / "size"
        root.mkdir(parents=True)
        folder.chmod(0o755)
        for size in case.sizes:
            (root / str(size)).write_bytes(b"s" * size)
        conf = folder / "nginx.conf"
        conf.write_text(NGINX.format(folder=folder, more="keepalive_timeout 120s;", besides=""))
        server.serve(80, "nginx", "-c", str(conf))
        return 80
    program = (
        [sys.executable, str(PEERS / "silence_server.py")]
        if case.server == "python"
        else ["node", str(PEERS / "silence_server.js")]
    )
    server.serve(8080, *program, "8080")
    return 8080


def _ask(case: Plan, client: Host, wire: Wire, port: int) -> str:
    """Run the client to its end, and begin the fault when the client says so. Return the client's error output."""
    base = f"http://{'[fd00:9::2]' if case.ipv6 else '10.9.0.2'}:{port}"
    if case.client == "curl":
        words = ["curl", "-g", "-sS", "-o", "/dev/null", "--max-time", str(case.timeout), *case.curl]
        done = client.run(*[word.replace("BASE", base) for word in words], check=False, input=b"u" * case.upload)
        return done.stderr.decode()
    words = [sys.executable, str(PEERS / "silence_client.py"), case.client, base, str(case.timeout), json.dumps(case.steps)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = client.start(*words, **pipes)
    assert process.stdin
    assert process.stdout
    assert process.stderr
    for line in process.stdout:
        if line == b"tell\n":
            wire.tell()
            process.stdin.write(b"told\n")
            process.stdin.flush()
    process.wait(5)
    return process.stderr.read().decode()


def _narrow(path: Path, case: Plan, port: int) -> None:
    """Keep only one direction, or end the capture earlier, as the plan says."""
    narrow = path.with_suffix(".narrow")
    if case.only_from:
        expression = f"tcp.{'dst' if case.only_from == 'client' else 'src'}port == {port}"
    else:
        seen = subprocess.run(
            ["tshark", "-n", "-r", str(path), "-Y", "tcp.analysis.retransmission", "-T", "fields", "-e", "frame.number"],
            capture_output=True,
            check=True,
            text=True,
        )
        copies = [int(number) for number in seen.stdout.split()]
        expression = f"frame.number <= {copies[1]}" if len(copies) > 1 else "tcp"
    subprocess.run(["tshark", "-n", "-r", str(path), "-Y", expression, "-F", "pcap", "-w", str(narrow)], check=True)
    narrow.replace(path)


def score(words: Namespace) -> int:
    """Analyze every recording at every point, and print what was reported. Return 1 if the required scores were missed."""
    cases = [json.loads(path.read_text()) for path in words.folder.glob("*.json")]
    cases = [case for case in cases if is_wanted(words, case["name"], case["family"])]
    cases.sort(key=lambda case: (case["name"].partition("-")[0], case["number"]))
    views = [(case, point) for case in cases for point in POINTS]
    paths = [words.folder / f"{case['name']}-{point}.pcap" for case, point in views]
    findings = [report["findings"] for report in reports(words.python, paths, words.jobs)]
    table, wrong, alarms = _judge(views, findings)
    for (family, point), counts in sorted(table.items()):
        print(f"{family:28} {point:7} " + ", ".join(f"{name} x {count}" for name, count in counts.most_common()))
    print(*wrong, *alarms, sep="\n")
    known = sum(case["expected"][point] is not None for case, point in views if not case["healthy"])
    missed = sum(line.startswith("WRONG") for line in wrong)
    print(f"{known - missed} of {known} named rightly ({100 * (known - missed) / max(1, known):.1f} %)")
    points = sum(case["healthy"] for case, _ in views)
    print(f"{len(wrong) - missed} said where nothing can be known; {len(alarms)} false alarms at {points} points of twins")
    return int(bool(alarms) or known - missed < 0.98 * known)


def _named(finding: dict[str, Any]) -> str:
    return finding["rule"] + (f" {finding['kind']}" if finding["kind"] else "")


def _judge(
    views: list[tuple[dict[str, Any], str]], findings: list[list[dict[str, Any]]]
) -> tuple[dict[tuple[str, str], Counter[str]], list[str], list[str]]:
    table: dict[tuple[str, str], Counter[str]] = {}
    wrong: list[str] = []
    alarms: list[str] = []
    for (case, point), found in zip(views, findings, strict=True):
        names = sorted({_named(finding) for finding in found if finding["rule"] not in (*HARMLESS, *case["harmless"])})
        table.setdefault((case["family"], point), Counter())[" + ".join(names) or "nothing"] += 1
        expected, told = case["expected"][point], ", ".join(names) or "nothing"
        where = (
            f"{case['name']}-{point}.pcap ({case['family']}, {case['client']}, {case['server']}, rtt {1000 * case['rtt']:.0f} ms)"
        )
        if case["healthy"]:
            alarms += [f"ALARM {where}: {told}"] if names else []
        elif expected is None:
            blamed = [name for name in names if name.startswith(("unanswered", "foreign", "connect-failed", "keep-alive-race"))]
            wrong += [f"EXTRA {where}: {', '.join(blamed)}"] if blamed else []
        elif not set(names) & set(expected) or any(name not in expected for name in names):
            wrong.append(f"WRONG {where}: {told}, and not {' or '.join(expected)}")
    return table, wrong, alarms


if __name__ == "__main__":
    sys.exit(main())
