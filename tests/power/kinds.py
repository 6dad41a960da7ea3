"""Assign each case of the tests to a kind."""

from __future__ import annotations

import re

QUICK, THINNED, ALL_EXAMPLES, REST = "quick", "thinned", "all examples", "rest"

FUNCTIONS = {
    "in steps": (
        r"::test_where_epochs_end|::test_the_same_wherever_epochs_end|_in_short_epochs|::test_neither_batches_nor_order_matter"
        r"|core/test_recordings\.py::test_steps|pipeline/test_batches\.py|::test_in_batches|::test_any_batches_and_processes"
    ),
    "cut": (
        r"::test_cut_a|::test_truncated_anywhere|::test_no_failure_is_lost_in_a_part|::test_a_capture_that_ends_early"
        r"|::test_none_in_a_valid_conversation_cut_anywhere|::test_without_a_handshake"
    ),
    "fed every way": r"pipeline/test_fed_every_way\.py",
    "shuffled": r"::test_shuffled|capture/test_out_of_order\.py|::test_a_body_in_any_order|::test_however_the_bytes_are_cut",
    "disturbed": r"pipeline/test_disturb(ed|ances)\.py|::test_duplicated",
    "unsorted": r"capture/test_unsorted\.py",
    "played live": r"live/test_(played|gateways)\.py|::test_the_newest_is_judged_as_at_the_end",
    "three points": r"captures/test_three_points\.py|::test_it_is_listed_wherever_it_is_captured",
    "snap length": r"captures/test_snap_length\.py",
    "alone": r"rules/test_ladders\.py::test_ladder$",
    "together": r"rules/test_ladders\.py::test_ladders_together",
    "processes": r"pipeline/test_processes\.py|::test_in_several_processes|tcp/test_crowds\.py|::test_processes_do_not_matter",
    "formats": (
        r"captures/test_(formats|failed_requests|anonymous)\.py|report/test_(html|har)(_browser)?\.py|report/test_pcapng\.py"
        r"|compare/test_compare_page\.py"
    ),
    "labels": r"captures/test_(papers|verdicts|collection)\.py",
    "tshark": r"pipeline/test_tshark\.py|capture/test_corpus\.py",
    "round trips": r"/test_round_trips\.py",
    "message search": r"report/test_(messages|finder)\.py",
    "commands": r"^tests/(cli|live|recording|interfaces)/|^tests/test_(system|replacement|start)|pipeline/test_stopping\.py",
}
"""Kind -> the slow tests that belong to it. The first kind that matches counts; the first eleven are forms of one input."""

ORDER = (QUICK, "labels", *(kind for kind in FUNCTIONS if kind != "labels"), THINNED, ALL_EXAMPLES, REST)
"""The kinds, in the order in which they run."""

NEVER = r"^tests/(test_third_party|test_containerfile|test_site|power/|test_docs\.py::test_pictures|core/test_build)"
"""Tests that are not run: they install packages, compile, or test other things than the package."""

_FUNCTIONS = {kind: re.compile(pattern) for kind, pattern in FUNCTIONS.items()}
_NEVER = re.compile(NEVER)


def kinds_of(case: str, *, slow: bool, thinned: bool, hypothesis: bool) -> list[str]:
    """Return the kinds of a case by its node id.

    `thinned`: a quick run leaves it out only because it tries a sixth of the cases. `hypothesis`: it generates its input.
    """
    if _NEVER.search(case):
        return []
    if not slow:
        return [QUICK, ALL_EXAMPLES] if hypothesis else [QUICK]
    test = case.partition("[")[0]
    kinds = [kind for kind, pattern in _FUNCTIONS.items() if pattern.search(test)]
    return [kinds[0] if kinds else THINNED if thinned else ALL_EXAMPLES if hypothesis else REST]
