"""Count what wiredoctor says rightly of the recordings of service_networks.py."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from batch import reports

if TYPE_CHECKING:
    from pathlib import Path

Place = tuple[str, str, int]


class Marks(Counter[str]):
    """The counts of a score, and `wrong`: a line for each thing that is wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong = list[str]()

    def miss(self, name: str, key: str, what: str, count: int = 1) -> None:
        self[key] += count
        self.wrong.append(f"{name}: {key} {what}")


def score(folder: Path, cases: list[dict[str, Any]], python: str, jobs: int, views: list[str], *, verbose: bool) -> int:
    """Analyze the recordings and print how many results were right. Return 1 if a required score was missed.

    `views`: whole; 96 and 200, with short packets; begin and end, the parts before and after a random packet.
    """
    endings = ["" if view == "whole" else f".{view}" for view in views]
    paths = [folder / f"{case['name']}{ending}.pcap" for case in cases for ending in endings]
    told = reports(python, paths, jobs)
    failed = False
    for turn, view in enumerate(endings):
        marks = Marks()
        for case, report in zip(cases, told[turn :: len(endings)], strict=True):
            judge(case, report, view, marks)
        if verbose:
            print(*marks.wrong, sep="\n")
        print(f"{view or 'whole':8} " + ", ".join(f"{key} {marks[key]}" for key in KEYS))
        failed |= bool(marks["FALSE"] or marks["ALARM"])
    return int(failed)


KEYS = ("certain", "FALSE", "true", "found", "COUNT", "5XX", "meant", "named", "ALARM", "OTHER")


def judge(case: dict[str, Any], report: dict[str, Any], view: str, marks: Marks) -> None:
    """Compare a report with what is true of a recording."""
    name = case["name"] + view
    parents = {tuple(row["place"]): tuple(row["parent"]) for row in case["exchanges"] if row["place"] and row["parent"]}
    forwarded = {tuple(row["place"]) for row in case["exchanges"] if row["place"] and row["parent"] and row["forwards"]}
    ends = _places(case, report, from_end=view == ".end")
    found = _pairs(report, ends)
    marks["certain"] += len(found)
    false = Counter((front[1], back[1]) for front, back in found if parents.get(back) != front)
    for (front, back), count in sorted(false.items()):
        marks.miss(name, "FALSE", f"{count} x {front} -> {back}", count)
    shown = set(ends.values())
    seen = {place for place in shown & forwarded if parents[place] in shown}
    marks["true"] += len(seen)
    got = {back for front, back in found if parents.get(back) == front}
    marks["found"] += len(seen & got)
    whole_heads = not view.strip(".").isdigit()
    if whole_heads and seen and len(seen & got) < 0.95 * len(seen):
        marks.miss(name, "MISSED", f"{len(seen - got)} of {len(seen)} pairs")
    if whole_heads:
        _judge_counts(name, report, (ends, set(parents), forwarded), marks)
    _judge_findings(case, report, name, marks)


def _places(case: dict[str, Any], report: dict[str, Any], *, from_end: bool) -> dict[tuple[int, int], Place]:
    """Return the places of all exchanges by connection and index.

    `from_end`: the first requests of connections may be missing, so that they are counted from the last one.
    """
    sent = Counter((row["place"][0], row["place"][1]) for row in case["exchanges"] if row["place"])
    seen = Counter((one["client"], one["server"]) for one in report["exchanges"])
    less = {key: sent[key] - count if from_end else 0 for key, count in seen.items()}
    return {
        (one["connection"], one["index"]): (one["client"], one["server"], one["index"] + less[one["client"], one["server"]])
        for one in report["exchanges"]
    }


def _pairs(report: dict[str, Any], ends: dict[tuple[int, int], Place]) -> set[tuple[Place, Place]]:
    certain = set[tuple[Place, Place]]()
    for exchange in report["exchanges"]:
        gateway = exchange.get("gateway")
        if not gateway or not gateway["certain"]:
            continue
        here = ends[exchange["connection"], exchange["index"]]
        tries = [(one["connection"], one["exchange"]) for one in gateway.get("tries") or () if one["exchange"] is not None]
        certain |= {(here, ends[one]) for one in tries}
        if front := gateway.get("front"):
            certain.add((ends[front["connection"], front["exchange"]], here))
    return certain


def _judge_counts(name: str, report: dict[str, Any], known: tuple[Any, set[Place], set[Place]], marks: Marks) -> None:
    """Compare the counts of requests and server errors.

    Whether a request that a service makes for another one is counted is open, unless it passes that request on.
    """
    ends, caused, forwarded = known
    rows = report["exchanges"]
    shown = {ends[one["connection"], one["index"]] for one in rows if one["request"]}
    answered = [one for one in rows if one["response"] and one["response"]["status"]]
    errors = {ends[one["connection"], one["index"]] for one in answered if one["response"]["status"] >= 500}
    requests = report["summary"]["requests"]["count"]
    told = sum(one["count"] for one in report["summary"]["server_errors"])
    for key, count, all_ in (("COUNT", requests, shown), ("5XX", told, errors)):
        least, most = len(all_ - caused), len(all_ - forwarded)
        if not least <= count <= most:
            marks.miss(name, key, f"{count} for {least} to {most}")


def _judge_findings(case: dict[str, Any], report: dict[str, Any], name: str, marks: Marks) -> None:
    nodes = case["nodes"]
    hosts = {f"{node['address']}:{node['port']}": key for key, node in nodes.items()}
    findings = [one for one in report["findings"] if one["severity"] in ("error", "warning")]
    said = Counter((one["rule"], one["kind"] or "", hosts.get(one["server"] or "", one["server"] or "")) for one in findings)
    # the part of a fault that a cut shows may not prove it
    for rule, kind, server in () if name.endswith((".begin", ".end")) else case["meant"]:
        marks["meant"] += 1
        hit = any(one[0] == rule and kind in ("", one[1]) and server in ("", one[2]) for one in said)
        marks["named"] += hit
        if not hit:
            marks.miss(name, "UNSAID", f"{rule} {kind} {server}")
    rules = {rule for rule, _, _ in case["meant"]} | set(case["allowed"])
    for (rule, kind, server), count in sorted(said.items()):
        if rule not in rules and rule != "snap-length":
            key = "ALARM" if case["group"] == "healthy" else "OTHER"
            marks.miss(name, key, f"{count} x {rule} {kind} of {server}")
