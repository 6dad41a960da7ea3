"""Templates become sentences."""

from __future__ import annotations

import polars as pl
import pytest

from tests.rules.test_settle import candidate, candidates, module, settled
from wiredoctor.findings import Advice


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (1, "bytes", "held 1 byte back"),
        (2, "bytes", "held 2 bytes back"),
        (11, "segments", "held 11 segments back"),
        (1, "requests", "held 1 request back"),
        (1, "of 5 connections", "held 1 of 5 connections back"),
        (1, "of 1 connections", "held the only connection back"),
        (11, "of 11 connections", "held 11 of 11 connections back"),
        (1, "of 1,001 connections", "held 1 of 1,001 connections back"),
        (1, "bytes were held", "held 1 byte was held back"),
        (1, "ms", "held 1 ms back"),
    ],
)
def test_one_of_a_thing_is_no_plural(number: int, noun: str, said: str) -> None:
    rule = module("a", message="held {number:,} " + noun + " back", title="{number:,} " + noun)
    given = candidate(number=number, evidence=[{"frame": 5, "time": 0, "note": f"it held {number} {noun} back"}])
    [finding] = settled([rule], {"a": candidates(given, number=pl.Int64())})
    assert finding.message == said
    assert finding.title == said.removeprefix("held ").removesuffix(" back")
    assert finding.evidence[0].note == f"it {said}"


def test_a_thousand_and_one_are_many() -> None:
    rule = module("a", message="{number:,} bytes")
    [finding] = settled([rule], {"a": candidates(candidate(number=2001), number=pl.Int64())})
    assert finding.message == "2,001 bytes"


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ("1448 bytes sent, 2896 in flight", "1,448 bytes sent, 2,896 in flight"),
        ("1000 of 40000 bytes came", "1,000 of 40,000 bytes came"),
        ("the held-back 1234567 bytes", "the held-back 1,234,567 bytes"),
        ("999 bytes", "999 bytes"),
        # numbers of other things, and what was sent
        ("Content-Length 50000, and 100 bytes", "Content-Length 50000, and 100 bytes"),
        ("RFC 9112 requests it; frame 2048 of 5000 packets", "RFC 9112 requests it; frame 2048 of 5,000 packets"),
        ('"5000 bytes" of GET /a/5000 bytes', '"5000 bytes" of GET /a/5000 bytes'),
        ("10.0.0.2:8080 times out", "10.0.0.2:8080 times out"),
    ],
)
def test_thousands_are_grouped_in_evidence_titles_and_messages(note: str, said: str) -> None:
    rule = module("a", message="{note}", title="{note}")
    given = candidate(note=note, evidence=[{"frame": 5, "time": 0, "note": note}])
    [finding] = settled([rule], {"a": candidates(given, note=pl.String())})
    assert (finding.title, finding.message, finding.evidence[0].note) == (said, said, said)


def test_a_name_that_is_empty_leaves_no_gap() -> None:
    rule = module("a", message="one {hint} two. {hint}", remedy="mend it. {hint}", advice=(Advice("server", "", "Soon."),))
    [finding] = settled([rule], {"a": candidates(candidate(hint=""), hint=pl.String())})
    assert (finding.message, finding.remedy) == ("one two.", "mend it. Soon.")


def test_a_target_that_fills_a_page_is_short_in_texts_and_whole_in_the_finding() -> None:
    from tests.rules.frames import answered, rows

    exchanges = rows("exchanges", answered(request_target="/" + "a" * 5000)).lazy()
    rule = module("a", message="{request} was lost")
    [finding] = settled([rule], {"a": candidates(candidate())}, exchanges=exchanges)
    assert len(finding.message) == 100 + len(" was lost")
    assert finding.request == "GET /" + "a" * 5000


def test_advice_that_depends_on_a_column() -> None:
    rule = module("a", advice=(Advice("server", "", "Always."), Advice("server", "", "Sometimes.", "found")))
    given = [candidate(frame=n, found=found) for n, found in enumerate((True, False, None), start=5)]
    told = settled([rule], {"a": candidates(*given, found=pl.Boolean())})
    assert [finding.remedy.removeprefix("mend it").strip(" .") for finding in told] == ["Always. Sometimes", "Always", "Always"]


@pytest.mark.parametrize(("limit", "said"), [(5_000_000_000, "; 5 s is the default of"), (7_000_000_000, ""), (None, "")])
def test_whose_default_an_idle_limit_is(limit: int | None, said: str) -> None:
    rule = module("a", message="a limit{usual}")
    [finding] = settled([rule], {"a": candidates(candidate(idle_limit=limit), idle_limit=pl.Int64())})
    assert finding.message.startswith(f"a limit{said}")
    assert (finding.message == "a limit") == (not said)
