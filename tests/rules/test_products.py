"""Test the table of what products do by default, and the texts made from it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

import wiredoctor
from wiredoctor.core.http1.endings import LATE_RESPONSE
from wiredoctor.world.products import PRODUCTS, Setting, default, find_setting, names, settings

PACKAGE = Path(wiredoctor.__file__).parent
LIMITS = {"idle", "silence", "answer", "body", "work", "continue", "head", "connections", "workers"}


def test_each_setting_has_one_row_with_a_source() -> None:
    assert max(Counter((one.product, one.setting, one.limits) for one in PRODUCTS).values()) == 1
    assert all(one.source and {*one.limits.split()} <= LIMITS and (one.setting or one.default) for one in PRODUCTS)
    assert {limit for one in PRODUCTS for limit in one.limits.split()} == LIMITS
    assert all(re.compile(one.pattern) and one.side in ("client", "server", "gateway") for one in PRODUCTS)


def test_times_can_be_compared() -> None:
    """A row without a number would match no wait, or a wait of no time."""
    compared = [*settings("idle", "server"), *settings("silence"), *settings("body"), *settings("work"), *settings("continue")]
    assert all(one.time > 0 for one in compared)
    assert all(one.time == 0 for one in settings("head"))


def test_a_default_is_written_in_the_table_only() -> None:
    """A sentence that says "60 s by default" takes the number from the table."""
    said = re.compile(r"\b\d+ (?:s|minutes|[kM]i?B)(?: of \S+)? by default|default (?:is|of) \d+")
    files = [path for path in PACKAGE.rglob("*.py") if path.name != "products.py"]
    assert len(files) > 500
    assert [path.name for path in files if said.search(path.read_text("utf-8"))] == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (60, " (60 s by default)"),
        (118, " (118 s by default)"),
        (120, " (120 s by default)"),
        (300, " (5 minutes by default)"),
        ("no limit in 5.0", " (no limit in 5.0)"),
        ("", ""),
    ],
)
def test_advice(value: int | str, said: str) -> None:
    one = Setting("P", "", "client", "answer", "limit", value, "here")
    assert one.advice == f"P: limit{said}."
    assert one._replace(text="P: raise ({}) it.").advice == f"P: raise{said or ' ()'} it."


def test_two_pairs_of_brackets_do_not_follow_each_other() -> None:
    one = Setting("P", "", "client", "answer", "limit(n=...)", 5, "here")
    assert (one.advice, one._replace(default="").advice) == ("P: limit(n=...), 5 s by default.", "P: limit(n=...).")


def test_heads_are_in_bytes() -> None:
    assert Setting("P", "", "server", "head", "limit", 16_384, "here").amount == "16 KiB"


def test_names() -> None:
    some = [Setting(name, "", "server", "idle", name.lower(), 1, "here") for name in "ABC"]
    assert [names(some[:n]) for n in (1, 2, 3)] == ["A (a)", "A (a) and of B (b)", "A (a), of B (b) and of C (c)"]
    assert names(some, "") == "A (a), B (b) and C (c)"
    assert names([one._replace(setting="") for one in some[:2]]) == "A and of B"


def test_an_unknown_setting_is_an_error() -> None:
    assert default("nginx", "proxy_read_timeout") == "60 s"  # https://nginx.org/en/docs/http/ngx_http_proxy_module.html
    with pytest.raises(KeyError):
        default("nginx", "proxy_reed_timeout")


def test_the_core_waits_as_long_as_nginx() -> None:
    """The core cannot import the table."""
    assert find_setting("nginx", "proxy_read_timeout").time == LATE_RESPONSE
