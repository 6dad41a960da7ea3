"""Count what wiredoctor reports for each lost request of races.py: races must be reported as races, ended processes must not."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from batch import is_wanted, reports

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator

AROUND = 5.0
"""The maximum time in seconds between a request and its finding, because ports are reused."""

BESIDE = ("slow-response", "retransmission-stall")
"""Rules that may also report a lost request."""

RACES, DEATHS = 0.95, 0.02
"""The minimum share of acknowledged requests at the idle timeout that must be reported as races, and the maximum of others."""


@dataclass(frozen=True)
class Told:
    """A lost request at one capture point, and what was reported about it."""

    case: dict[str, Any]
    point: str
    lost: dict[str, Any]
    answer: str

    @property
    def label(self) -> str:
        return self.lost["label"]

    @property
    def stack(self) -> str:
        return self.case["server"] + (f" behind {self.case['proxy']}" if self.case["proxy"] else f" of {self.case['client']}")

    @property
    def how(self) -> str:
        """How much of the request the close acknowledges, and whether the request was the first of its connection."""
        acknowledged = {"whole": "acknowledged", "part": "acknowledged in part", "none": "not acknowledged"}
        return f"{acknowledged[self.lost['acknowledged']]}, {'later' if self.lost['request'] else 'first'}"

    @property
    def death(self) -> str:
        """How the server's process ended, and whether the idle times of its connections were equal."""
        low, high = self.case["pool"].get("rests", (0, 1))
        done = ("busy, " if self.case["pool"].get("stuck") else "") + self.lost["how"]
        return f"{done}, {'equal' if low == high else 'random'} rests"

    @property
    def counts(self) -> bool:
        """True if the connection was reused, and the close acknowledges at least a part of the request."""
        return bool(self.lost["request"]) and self.lost["acknowledged"] != "none"


def score(words: Namespace) -> int:
    """Print what is reported, by stack, by the end of the process, and in total. Return 1 if the required scores were missed."""
    cases = [{"client": "pool"} | json.loads(path.read_text()) for path in sorted(words.folder.glob("*-*.json"))]
    cases = [case for case in cases if is_wanted(words, *(case[n] for n in ("name", "family", "server", "client", "proxy")))]
    views = [(case, point) for case in cases for point in case["views"]]
    paths = [words.folder / f"{case['name']}-{point}.pcap" for case, point in views]
    found = [report["findings"] for report in reports(words.python, paths, words.jobs)]
    told = [one for (case, point), findings in zip(views, found, strict=True) for one in _told(case, point, findings)]
    for one in told:
        if words.list and all(word in f"{one.label} / {one.answer}" for word in words.list.split("&")):
            print(f"{one.case['name']}-{one.point} {one.stack} rtt {one.case['rtt']:g}: {json.dumps(one.lost)} -> {one.answer}")
    _table(told, lambda one: f"{one.label:24} {one.how:23} {one.stack:26}")
    _table([one for one in told if one.counts and one.label in ("crash", "closed-on-purpose")], lambda one: one.death)
    _table(told, lambda one: f"{one.label:24} {one.how:23}")
    return _marks(told)


def _told(case: dict[str, Any], point: str, findings: list[dict[str, Any]]) -> Iterator[Told]:
    for lost in case["views"][point]["lost"]:
        some = [
            f"{finding['rule']} {finding['kind']} ({finding['confidence']})"
            for finding in findings
            if finding["client"] == lost["client"]
            and finding["exchange"] == lost["request"]
            and finding["rule"] not in BESIDE
            and abs(datetime.fromisoformat(finding["time"]).timestamp() - lost["time"]) < AROUND
        ]
        yield Told(case, point, lost, " + ".join(sorted(some)) or "nothing")


def _table(told: list[Told], key: Callable[[Told], str]) -> None:
    table: dict[str, Counter[str]] = {}
    for one in told:
        table.setdefault(key(one), Counter())[one.answer] += 1
    for name, counts in sorted(table.items()):
        print(f"{name:50} {sum(counts.values()):5}  " + ", ".join(f"{count} {answer}" for answer, count in counts.most_common()))
    print()


def _marks(told: list[Told]) -> int:
    """Print how many acknowledged requests at the idle timeout, and how many others, are reported as races."""
    met = [one.answer for one in told if one.counts and one.label == "race"]
    others = [one.answer for one in told if one.counts and one.label in ("crash", "closed-on-purpose")]
    right, wrong = (sum("keep-alive-race" in answer for answer in answers) for answers in (met, others))
    shares = 100 * right / max(1, len(met)), 100 * wrong / max(1, len(others))
    print(f"{right} of {len(met)} acknowledged requests that met the limit are told as races ({shares[0]:.1f} %)")
    print(f"{wrong} of {len(others)} acknowledged requests of crashes and closes on purpose, too ({shares[1]:.1f} %)")
    return int(right < RACES * len(met) or wrong > DEATHS * len(others))
