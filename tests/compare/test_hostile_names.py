"""Names that give orders to terminals and browsers, wherever a comparison may hold one: none is obeyed."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.compare.comparisons import forms
from tests.report.test_hostile_names import HOSTILE, safe
from tests.support.sweeps import SLOW, examples
from wiredoctor.compare.before_after.result import Changes, EndpointChange, FindingChange, RuleChange, Shift, Source, Spread
from wiredoctor.compare.proxy.result import OwnAnswer, Passed, Proxied, Rewritten
from wiredoctor.compare.proxy.result import Side as ProxySide
from wiredoctor.compare.two_points.result import (
    Alone,
    Changed,
    Clock,
    ComparedFile,
    Delays,
    OneSided,
    Pair,
    Shares,
    SideFinding,
    Step,
    TwoPoints,
    Waiting,
    Way,
)
from wiredoctor.report.comparison import before_after, proxy, two_points

SHIFT = Shift(Spread(9, 0.1, 0.2), Spread(9, 0.3, 0.4), 0.2, 0.1, 0.3, 0.001, "slower", "slower")
SOURCE = Source("x", "captures", ["x", "y"], 1, 2, 3, 0.5, "x", "x", times=True)
BEFORE_AFTER = Changes(
    "x", SOURCE, SOURCE, False, 0.1,
    [FindingChange(
        "new", "x", "x", "x", "error", "x", "x", "x", "x", "exchanges", 1, 2, 3, 4, "more-often", SHIFT, 0.1, 0.2, "x",
    )],
    [EndpointChange("x", "x", "x", 1, 2, SHIFT, SHIFT)], [RuleChange("x", "x", True, False, 1, 2, 0.1, 0.2)], ["x"],
)  # fmt: skip
DELAYS = Delays(3, 0.1, 0.2, 0.3)
RECORDING = ComparedFile("x", "client", 1, 2, 3, 4, "x", "x")
TWO_POINTS = TwoPoints(
    "x", RECORDING, replace(RECORDING, point="server"), True, Clock(3.0, 0.02, 50.0, 0.1, [Step(1.0, 0.2)], 5),
    [Way("client", 9, 8, 1, 1, 1, 1, 1, 1, 1, 3, DELAYS, 2, 1, 1, 0, 0, 0)], Waiting(1, DELAYS, DELAYS, DELAYS),
    [SideFinding("x", "x", "error", "x", "x", "both", 1, 2, [3], 0.1, 0.2, Shares(0.1, 0.2, 0.3), [4], "x")],
    [Changed("x", "client", "x", "x", 1, 2, 3, 4)], [OneSided("client", 1, 0.1, 2, "client", "lost", "x", "x")],
    [Pair(1, 2, "x", "x", "x", "x", "rewritten-addresses", 1, 2, 3)], [Alone("client", 1, "x", "x", 2, 3, "x")], ["x"],
)  # fmt: skip
PROXIED = Proxied(
    "x", ProxySide("x", "front", 1, 2, ["x", "x"]), ProxySide("x", "back", 1, 2, ["x"]), 1.0, 1, 1, 1, 1, 1,
    DELAYS, DELAYS, DELAYS, DELAYS, DELAYS, 1, 1, [Rewritten("request", "x", "x", "x", 1, 2, 3, 4, 5)],
    [OwnAnswer(1, 2, 0.1, "x", 502, "no-answer", "x", 3, 4)], [("front", "x", 1)],
    [Passed("x", 200, 1, 2, 3, 4, 0.1, 0.2, 0.3, True, True, True)], ["x"],
)  # fmt: skip


def spoiled(value: Any, evil: Any) -> Any:
    """The same with hostile texts in the place of each "x"."""
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: spoiled(getattr(value, f.name), evil) for f in fields(value)})
    if isinstance(value, list | tuple):
        return type(value)(spoiled(one, evil) for one in value)
    return evil() if value == "x" else value


@given(st.lists(HOSTILE, min_size=5, max_size=5), st.integers(0, 1000))
@settings(max_examples=examples(20), deadline=None)
def test_nothing_is_obeyed(names: list[str], seed: int) -> None:
    random = Random(seed)
    for kind, told, page in (
        ("before-after", BEFORE_AFTER, before_after.page),
        ("two-points", TWO_POINTS, two_points.page),
        ("proxy", PROXIED, proxy.page),
    ):
        for form, said in forms(kind, spoiled(told, lambda: random.choice(names)), page).items():
            assert safe(said), form
            if "markdown" in form:
                tokens = [
                    t
                    for token in MarkdownIt("commonmark", {"html": True}).enable("table").parse(said)
                    for t in (token, *(token.children or ()))
                ]
                kinds = {token.type.removesuffix("_open").removesuffix("_close") for token in tokens}
                assert kinds <= {
                    *("heading", "inline", "text", "bullet_list", "list_item", "paragraph", "strong", "softbreak", "hardbreak"),
                    *("table", "thead", "tbody", "tr", "th", "td"),
                }
                headings = [token for token in tokens if token.type == "heading_open"]
                assert len(headings) == said.count("\n#") + 1


@SLOW
def test_targets_of_megabytes_are_cut() -> None:
    name = "/\x1b[31m[bold]<b>" * 200_000
    [finding], [endpoint] = BEFORE_AFTER.findings, BEFORE_AFTER.endpoints
    long = replace(BEFORE_AFTER, findings=[replace(finding, request=name)], endpoints=[replace(endpoint, path=name)])
    [of_both] = TWO_POINTS.findings
    [own] = PROXIED.answers
    for kind, told, page in (
        ("before-after", long, before_after.page),
        ("two-points", replace(TWO_POINTS, findings=[replace(of_both, request=name)]), two_points.page),
        ("proxy", replace(PROXIED, answers=[replace(own, request=name)]), proxy.page),
    ):
        assert max(len(said) for form, said in forms(kind, told, page).items() if "json" not in form) < 10_000
