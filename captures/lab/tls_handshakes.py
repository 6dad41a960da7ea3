"""Record failed and healthy TLS handshakes of real programs, and check what is reported for each.

    python captures/lab/tls_handshakes.py make FOLDER [--only NAME,...]
    python captures/lab/tls_handshakes.py score FOLDER [--python PYTHON] [--jobs N] [--only NAME,...]

Each handshake is recorded at the client and at the server, with a round trip of 0 and of 40 ms. NAME.json beside NAME-client.pcap
and NAME-server.pcap says what was arranged (tls_plans.py). Where a plain alert decides the kind, tshark reads it. Run `make` as
root. A recording takes about 2 s.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import network
import tls_certificates
from batch import parser_of, reports
from impairments import Conditions
from network import cable, tcpdump
from scenario import PEERS, Lab
from tls_plans import Plan, plans
from tls_programs import PORT, end, serve, use

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from network import Host

SMALL_MTU = 800
TOGETHER = 12
"""The maximum number of recordings on one wire, which lasts only for some minutes."""

KEPT = 800
"""The maximum number of characters of a program's output that are kept."""

HANDSHAKE = ("handshake-failed", "handshake-timeout", "wrong-protocol")
BESIDE = ("slow-handshake", "certificate-expiry", "certificate-name", "certificate-flight", "nagle-delayed-ack", "one-sided")
"""Rules that may also report something: some programs leave Nagle's algorithm on, and their second record waits for an ACK."""

AT_ONCE = "connect-failed closed-at-once by , side server"
"""The answer about a server that resets the connection before it has read the ClientHello; as right as kind closed."""

KINDS = {
    "client": {42: "certificate-rejected", 43: "certificate-rejected", 44: "certificate-rejected", 45: "certificate-expired"}
    | {46: "certificate-rejected", 48: "unknown-authority", 20: "bad-record", 51: "bad-record"},
    "server": {70: "protocol-version", 40: "no-shared-parameters", 71: "no-shared-parameters", 120: "no-application-protocol"}
    | {112: "unrecognized-name", 80: "internal"},
}


def main() -> int:
    """Run the command line."""
    words = parser_of(__doc__, "list", jobs=1, only="the beginning of names of recordings", seeded=False).parse_args()
    chosen = [p for p in plans().values() if not words.only or any(p.name.startswith(w) for w in words.only.split(","))]
    if words.action == "list":
        print("\n".join(one.name for one in chosen))
        return 0
    words.folder.mkdir(parents=True, exist_ok=True)
    return make_all(words.folder, chosen) if words.action == "make" else score(words, chosen)


def make_all(folder: Path, chosen: list[Plan]) -> int:
    """Make the missing recordings. Return the number of failures."""
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        binaries = Path(name)
        subprocess.run(["go", "build", "-o", binaries / "tls_peer", PEERS / "tls_peer.go"], check=True, cwd=PEERS)
        subprocess.run(["javac", "-d", binaries, PEERS / "TlsClient.java"], check=True)
        for rtt in sorted({one.rtt for one in chosen}):
            missing = [one for one in chosen if one.rtt == rtt and not (folder / f"{one.name}.json").exists()]
            for first in range(0, len(missing), TOGETHER):
                failures += _make(folder, missing[first : first + TOGETHER], rtt, binaries)
    return failures


def _make(folder: Path, chosen: list[Plan], rtt: float, binaries: Path) -> int:
    failures = 0
    with cable(Conditions(rtt / 2) if rtt else None) as (client, server, wire), _names(client, server):
        for plan in chosen:
            with tempfile.TemporaryDirectory() as name, ExitStack() as recordings:
                lab = Lab(client, server, Path(name), None)
                lab.folder.chmod(0o755)
                tls_certificates.make(lab.folder)
                try:
                    process = serve(lab, plan.serving, binaries)
                except TimeoutError:
                    print(f"{plan.name}: {(lab.folder / 'server.log').read_text()[-600:]}", file=sys.stderr, flush=True)
                    failures += 1
                    client.stop_all()
                    server.stop_all()
                    continue
                for point, host in (("client", client), ("server", server)):
                    path = folder / f"{plan.name}-{point}.pcap"
                    recorded = wire.recorded(point, path) if wire else tcpdump(host, path, expression=f"tcp port {PORT}")
                    recordings.enter_context(recorded)
                with _black_hole(client if plan.black_hole == "client" else None):
                    use(lab, plan.using, binaries)
                time.sleep(0.3 + 2 * rtt)
                end(lab, process)
                texts = {who: (lab.folder / f"{who}.log").read_text(errors="replace") for who in ("client", "server")}
                output = {
                    who: text if len(text) <= KEPT else f"{text[: KEPT // 2]} ... {text[-KEPT // 2 :]}"
                    for who, text in texts.items()
                }
            if plan.only:
                for point in ("client", "server"):
                    _keep_only(plan.only, folder / f"{plan.name}-{point}.pcap")
            (folder / f"{plan.name}.json").write_text(json.dumps(asdict(plan) | {"output": output}, indent=1) + "\n")
            print(f"{plan.name}: {output['client'].strip()[-120:]!r}", flush=True)
    return failures


def _keep_only(side: str, path: Path) -> None:
    """Remove the packets of the other side from a capture."""
    whole = path.with_suffix(".whole")
    path.rename(whole)
    expression = f"tcp {'dst' if side == 'client' else 'src'} port {PORT}"
    subprocess.run(["tcpdump", "-r", whole, "-w", path, expression], check=True, capture_output=True)
    whole.unlink()


@contextmanager
def _names(*hosts: Host) -> Iterator[None]:
    """Let the server's names resolve in the namespaces."""
    folders = [Path("/etc/netns") / host.name for host in hosts]
    try:
        for folder in folders:
            folder.mkdir(parents=True)
            (folder / "hosts").write_text("127.0.0.1 localhost\n10.9.0.2 good.test other.test\n")
        yield
    finally:
        for folder in folders:
            (folder / "hosts").unlink(missing_ok=True)
            folder.rmdir()


@contextmanager
def _black_hole(host: Host | None) -> Iterator[None]:
    """Lose the large packets that come to a host, although it announces the usual MSS."""
    if host:
        host.run("ip", "link", "set", "eth0", "mtu", str(SMALL_MTU))
        host.run("ip", "route", "change", "10.9.0.0/24", "dev", "eth0", "advmss", "1460")
    yield
    if host:
        host.run("ip", "link", "set", "eth0", "mtu", "1500")


def score(words: Namespace, chosen: list[Plan]) -> int:
    """Print wrong answers, and how many are right. Return 1 if fewer than 98 % are right, or a healthy one is not silent."""
    known = [one for one in chosen if (words.folder / f"{one.name}.json").exists()]
    views = [(one, words.folder / f"{one.name}-{point}.pcap") for one in known for point in ("client", "server")]
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for (plan, path), report in zip(views, reports(words.python, [path for _, path in views], words.jobs), strict=True):
        told = {_answer(one) for one in report["findings"] if one["severity"] != "note" and one["rule"] not in BESIDE}
        wanted = _truth(plan, path)
        at_once = plan.serving.program == "closes-unread" and told == {AT_ONCE}
        # the server's end of the black hole shows that the path loses full segments
        lost = plan.black_hole and path.stem.endswith("server") and {one.split()[0] for one in told} == {"unanswered"}
        if at_once or lost:
            wanted = told
        group = plan.rule or "healthy"
        total[group] += 1
        right[group] += told == wanted
        if told != wanted:
            print(f"{path.stem}: {sorted(told)} instead of {sorted(wanted)}")
    for group, count in total.items():
        print(f"{group}: {right[group]} of {count}")
    failed = [group for group in total if group != "healthy"]
    enough = sum(right[g] for g in failed) >= 0.98 * sum(total[g] for g in failed)
    return int(not enough or right["healthy"] < total["healthy"])


def _answer(finding: dict[str, Any]) -> str:
    sender = finding["message"].split()[1] if finding["rule"] == "handshake-failed" else ""
    return f"{finding['rule']} {finding['kind']} by {sender}, side {finding['side'] or ''}"


def _truth(plan: Plan, path: Path) -> set[str]:
    """Return what must be reported of a capture."""
    if not plan.rule:
        return set()
    if plan.kind == "alert":
        kind = _kind_of_alert(plan, path)
        side = "client" if kind == "closed" else plan.side
        return {f"handshake-failed {kind} by {plan.sender}, side {side}"} if kind else set()
    sender = plan.sender if plan.rule == "handshake-failed" else ""
    return {f"{plan.rule} {plan.kind} by {sender}, side {plan.side}"}


def _kind_of_alert(plan: Plan, path: Path) -> str:
    """Return the kind that the records of the sender show, as tshark reads them without keys; "" if they show no failure.

    Some programs check the certificate after the handshake, and then close the connection. Others close it without an alert: then
    a ChangeCipherSpec shows that the client went on with the handshake, and without one the close looks like that of a scanner.
    """
    sender = "srcport" if plan.sender == "server" else "dstport"
    names = ("tls.alert_message.level", "tls.alert_message.desc", "tls.record.content_type", "tls.record.opaque_type")
    fields = [word for name in (*names, "tls.record.length") for word in ("-e", name)]
    command = ["tshark", "-n", "-r", path, "-Y", f"tcp.{sender} == {PORT} && tls.record", "-T", "fields", *fields]
    lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    changed = False
    for level, number, plain, opaque, lengths in (line.split("\t") for line in lines):
        if level.startswith("2") and number:
            return KINDS[plan.sender].get(int(number.split(",")[0]), "other")
        types = plain.split(",") if plain else []
        for one in types:
            if one == "22" and changed:
                return ""  # the Finished of TLS 1.2
            if one == "21":
                return "unknown-alert"
            changed = changed or one == "20"
        for length in lengths.split(",")[len(types) :] if opaque else ():
            if int(length) in (53, 69):
                return ""  # the Finished of TLS 1.3
            if int(length) in (19, 35):
                return "unknown-alert"
    return "closed" if changed else ""


if __name__ == "__main__":
    network.PREFIX = "tlsrules-"
    sys.exit(main())
