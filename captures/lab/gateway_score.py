"""Count how many pairs and failures wiredoctor gets right in the recordings of random_gateways.py."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from batch import reports
from gateway_plans import KINDS

if TYPE_CHECKING:
    from pathlib import Path

Place = tuple[int, int | None]
"""A connection id and the index of an exchange."""

ENOUGH = 0.98
UNSEEN = (502, 504)
"""The statuses for which a capture of the front alone must say that the cause is not visible."""

SILENT = ("none", "passed-on")


@dataclass
class Marks:
    """The counts of a score."""

    pairs: Counter[str] = field(default_factory=Counter[str])
    failures: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])
    """The number of findings by expected kinds and reported kind."""

    failed: int = 0
    right: int = 0
    own: int = 0
    """The number of forwarded statuses that were wrongly attributed to the gateway."""

    alarms: int = 0
    """The number of other exchanges with a wrong gateway-error."""

    alike: int = 0
    """The number of failures without a finding among equal, simultaneous requests, which cannot be told apart."""

    causes: Counter[str] = field(default_factory=Counter[str])
    fronts: Counter[str] = field(default_factory=Counter[str])
    wrong: list[str] = field(default_factory=list[str])


def score(folder: Path, cases: list[dict[str, Any]], python: str, jobs: int, *, verbose: bool) -> int:
    """Analyze every recording and print how many results were right. Return 1 if the required scores were missed."""
    marks = Marks()
    paths = [folder / f"{case['name']}{end}.pcap" for case in cases for end in ("", "-front")]
    told = reports(python, paths, jobs)
    for case, both, front in zip(cases, told[::2], told[1::2], strict=True):
        _judge_pairs(case, both, marks)
        _judge_failures(case, both, marks)
        _judge_front(case, front, marks)
    if verbose:
        print(*marks.wrong, sep="\n")
    for kinds, counts in sorted(marks.failures.items()):
        print(f"{kinds:36} -> " + ", ".join(f"{kind} x {count}" for kind, count in counts.most_common()))
    pairs = marks.pairs
    print(f"pairs: {pairs['certain']} certain, {pairs['right']} of them right; {pairs['true']} are true")
    print(f"failures: {marks.right} of {marks.failed} with the right kind ({100 * marks.right / max(1, marks.failed):.1f} %)")
    print(f"of several alike, and nothing said: {marks.alike}")
    print(f"causes named: {marks.causes['named']}, of them of another request: {marks.causes['elsewhere']}")
    print(f"statuses passed on that were called the gateway's own: {marks.own}; other false alarms: {marks.alarms}")
    fronts = marks.fronts
    print(f"front alone: {fronts['right']} of {fronts['meant']} endpoints and statuses, {fronts['extra']} too many")
    good = pairs["certain"] == pairs["right"] and not marks.own and not marks.alarms and marks.right >= ENOUGH * marks.failed
    return int(not good)


def _judge_pairs(case: dict[str, Any], report: dict[str, Any], marks: Marks) -> None:
    true = {((front, index), (back, other)) for front, index, back, other in case["pairs"]}
    certain = set[tuple[Place, Place]]()
    for exchange in report["exchanges"]:
        gateway = exchange.get("gateway")
        if not gateway or not gateway["certain"]:
            continue
        here: Place = exchange["connection"], exchange["index"]
        tries = [(attempt["connection"], attempt["exchange"]) for attempt in gateway.get("tries") or ()]
        certain |= {(here, attempt) for attempt in tries if attempt[1] is not None}
        if front := gateway.get("front"):
            certain.add(((front["connection"], front["exchange"]), here))
    marks.pairs.update({"certain": len(certain), "right": len(certain & true), "true": len(true)})
    marks.wrong += [f"PAIR {case['name']}.pcap: {front} is not the front of {back}" for front, back in sorted(certain - true)]


def _tries(case: dict[str, Any], place: Place) -> set[Place]:
    """Return all exchanges behind an exchange, including those behind the next gateway."""
    behind = {(back, other) for front, index, back, other in case["pairs"] if (front, index) == place}
    return behind.union(*(_tries(case, one) for one in behind))


def _judge_failures(case: dict[str, Any], report: dict[str, Any], marks: Marks) -> None:
    said = {
        (finding["connection"], finding["exchange"]): finding
        for finding in report["findings"]
        if finding["rule"] == "gateway-error" and finding["connection"] is not None
    }
    for failure in case["failures"]:
        kinds, place = failure["kinds"], (failure["connection"], failure["index"])
        finding = said.pop(place, None)
        if kinds is None:
            continue
        told = finding["kind"] if finding else "nothing"
        meant = kinds[0] not in SILENT
        if meant and not finding and case["family"] == "burst" and case["form"] == "hidden":
            marks.alike += 1
            continue
        marks.failures.setdefault(" or ".join(kinds), Counter())[told] += 1
        marks.failed += meant
        marks.right += meant and told in kinds
        marks.own += kinds == ["passed-on"] and finding is not None
        marks.alarms += kinds == ["none"] and finding is not None
        if told not in kinds and (meant or finding):
            what = f"{failure['deed'] or 'answer'}, {failure['got']} {failure['status'] or ''}"
            marks.wrong.append(f"KIND {case['name']}.pcap {place}: {told}, and not {' or '.join(kinds)} ({what})")
        causes: list[dict[str, Any]] = finding["caused_by"] if finding else []
        for cause in causes:
            marks.causes["named"] += 1
            if cause.get("exchange") is not None and (cause["connection"], cause["exchange"]) not in _tries(case, place):
                marks.causes["elsewhere"] += 1
                marks.wrong.append(f"CAUSE {case['name']}.pcap {place}: {cause}")
    said = {place: finding for place, finding in said.items() if not _of_inner(case, place, finding["kind"])}
    marks.alarms += len(said)
    marks.wrong += [f"KIND {case['name']}.pcap {place}: {finding['kind']}, of no front" for place, finding in said.items()]


def _of_inner(case: dict[str, Any], place: Place, kind: str) -> bool:
    """Return whether the finding is right for the inner one of two gateways, whose failure the outer gateway turned into another
    one.
    """
    outer = {(front, index) for front, index, *back in case["pairs"] if tuple(back) == place}
    deeds = [failure["deed"] for failure in case["failures"] if (failure["connection"], failure["index"]) in outer]
    return len(case["makers"]) > 1 and [KINDS.get(deed.partition(";")[0]) for deed in deeds] == [kind]


def _judge_front(case: dict[str, Any], report: dict[str, Any], marks: Marks) -> None:
    meant = Counter((failure["server"], failure["status"]) for failure in case["failures"] if failure["status"] in UNSEEN)
    findings = [finding for finding in report["findings"] if finding["rule"] == "gateway-error"]
    unseen = [finding for finding in findings if finding["kind"] == "unseen"]
    endpoints = Counter(server for server, _ in meant)
    told = Counter(finding["server"] for finding in unseen)
    right = sum((endpoints & told).values())
    marks.fronts.update({"meant": len(meant), "right": right, "extra": len(findings) - right})
    if endpoints != told or len(findings) != len(unseen):
        marks.wrong.append(f"FRONT {case['name']}-front.pcap: {len(findings)} said, {len(meant)} meant")
