"""Print the results of a measurement as tables."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from tests.power.faults import FAULTS
from tests.power.kinds import ORDER, QUICK, REST
from tests.power.measuring import Results, list_cases

SIGNS = {"noticed": "x", "not": ".", "timed out": "t"}


def print_table(results: Results) -> None:
    """Print which kind noticed which fault, what only one kind noticed, and a summary of each kind."""
    found = {fault: _of_fault(results, fault.key, fault.core) for fault in FAULTS}
    measured = {fault: kinds for fault, kinds in found.items() if kinds}
    print(f"{len(measured)} of {len(FAULTS)} faults measured; x noticed, . not, t not in time, blank: not measured\n")
    for number, kind in enumerate(ORDER):
        print("  " * number + f"| {kind}")
    for fault, kinds in measured.items():
        print(" ".join(SIGNS[kinds[kind]["result"]] if kind in kinds else " " for kind in ORDER) + f"  {fault}")
    noticing = {fault: [kind for kind in ORDER if _noticed(kinds.get(kind))] for fault, kinds in measured.items()}
    _print_kinds(measured, noticing)
    slow = [fault for fault, kinds in noticing.items() if kinds and QUICK not in kinds]
    print(f"\nnoticed by {QUICK} tests: {sum(QUICK in kinds for kinds in noticing.values())}, only by slow tests: {len(slow)}")
    for fault in slow:
        print(f"    {fault}: {', '.join(noticing[fault])}")
    missed = [fault for fault, kinds in noticing.items() if not kinds]
    print(f"noticed by none: {len(missed)}")
    for fault in missed:
        late = ", ".join(kind for kind, result in measured[fault].items() if result["result"] == "timed out")
        print(f"    {fault}" + (f" (not finished: {late})" if late else ""))


def print_unclassified() -> None:
    """Print the tests that belong to no kind; they run as the kind "rest"."""
    cases = list_cases()
    counts = Counter(kind for _, kinds in cases for kind in kinds)
    rest = Counter(case.partition("[")[0] for case, kinds in cases if REST in kinds)
    for kind in ORDER:
        print(f"{counts[kind]:6} {kind}")
    for test, number in sorted(rest.items()):
        print(f"    {number:4} {test}")


def _of_fault(results: Results, key: str, core: str) -> dict[str, dict[str, Any]]:
    """Return the results of each kind, without failures that the fault did not cause, and without kinds of which nothing ran."""
    failing = set(results.failing(core))
    kinds = {kind: results.kinds[key, kind] for kind in ORDER if (key, kind) in results.kinds}
    return {
        kind: result
        for kind, result in kinds.items()
        if result["case"] not in failing and (result["of"] or result["result"] == "noticed")
    }


def _noticed(result: dict[str, Any] | None) -> bool:
    return result is not None and result["result"] == "noticed"


def _print_kinds(measured: dict[Any, dict[str, dict[str, Any]]], noticing: dict[Any, list[str]]) -> None:
    alone: dict[str, list[Any]] = defaultdict(list)
    for fault, kinds in noticing.items():
        if len(kinds) == 1:
            alone[kinds[0]].append(fault)
    print(f"\n{'kind':15} {'noticed':>8} {'not':>4} {'timeout':>8} {'alone':>6} {'beside quick':>13} {'CPU s':>7}")
    for kind in ORDER:
        results = [kinds[kind] for kinds in measured.values() if kind in kinds]
        counts = Counter(result["result"] for result in results)
        added = sum(kind in kinds and QUICK not in kinds for kinds in noticing.values())
        cpu = sum(result["cpu"] for result in results)
        numbers = f"{counts['noticed']:8} {counts['not']:4} {counts['timed out']:8} {len(alone[kind]):6} {added:13}"
        print(f"{kind:15} {numbers} {cpu:7.0f}")
    print("\nnoticed by one kind alone:")
    for kind in ORDER:
        for fault in alone[kind]:
            print(f"    {kind}: {fault} ({measured[fault][kind]['case']})")
