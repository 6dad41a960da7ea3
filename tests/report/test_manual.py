"""The manual of the rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import StringIO

from wiredoctor.findings import Reference, Rule, Threshold, configured
from wiredoctor.report.terminal.error_messages import Case, Message
from wiredoctor.report.terminal.manual import severities, write_found, write_list, write_message, write_pages
from wiredoctor.report.terminal.terminal import Terminal

PAGE = """A segment waited for nothing.

What it means
    One side wrote a message in two pieces, and this sentence goes on until it has to be broken into lines.

    A second paragraph.

How it is proved
    - first this
      and its second line
    - then that

        client  >  server
        drawing [red]stays[/red]

References
    RFC 9293.
"""

RULE = Rule(
    severity={"left-waiting": "error", "closed": "warning"},
    title={"left-waiting": "expected to be kept alive", "closed": "t"},
    message="m",
    remedy="r",
    display_filter="",
    references=(Reference("RFC 9293", "https://www.rfc-editor.org/rfc/rfc9293"),),
)


@dataclass(frozen=True)
class Page:
    name: str = "nagle-delayed-ack"
    family: str = "stalls"
    doc: str = PAGE
    rule: Rule = RULE
    thresholds: dict[str, Threshold] = field(default_factory=lambda: {"MIN_ACK_DELAY": Threshold("30 ms", "below every timer")})


def test_the_page_of_a_rule() -> None:
    out = StringIO()
    write_pages([Page()], out, Terminal(60))
    assert (
        out.getvalue()
        == """\
nagle-delayed-ack (family stalls)
A segment waited for nothing.

Severity of left-waiting: error
Severity of closed: warning
Protocol of the connections: HTTP

What it means
  One side wrote a message in two pieces, and this sentence
  goes on until it has to be broken into lines.

  A second paragraph.

How it is proved
  - first this and its second line
  - then that

        client  >  server
        drawing [red]stays[/red]

References
  RFC 9293.

Thresholds
  min-ack-delay = 30 ms  below every timer

Links
  RFC 9293  https://www.rfc-editor.org/rfc/rfc9293
"""
    )


def test_the_list() -> None:
    out = StringIO()
    write_list([Page(), Page(name="tail"), Page(name="premature-close", family="lifetime")], out, Terminal(100))
    assert (
        out.getvalue()
        == """\
stalls
  nagle-delayed-ack  error, warning  A segment waited for nothing.
  tail               error, warning  A segment waited for nothing.

lifetime
  premature-close    error, warning  A segment waited for nothing.
"""
    )


def test_severities_of_a_rule_with_one() -> None:
    assert severities(Rule(severity="note", title="", message="", remedy="", display_filter="")) == ["note"]
    assert severities(Page().rule) == ["error", "warning"]


def test_a_configured_threshold_stands_beside_its_default() -> None:
    page, lines = StringIO(), StringIO()
    entry = Page()
    entry.thresholds["MIN_ACK_DELAY"].key = ("nagle-delayed-ack", "min-ack-delay")
    with configured({("nagle-delayed-ack", "min-ack-delay"): "40 ms"}):
        write_pages([entry], page, Terminal(80))
        write_list([entry, Page(name="tail")], lines, Terminal(80), ignored={"tail"})
    assert "\n  min-ack-delay = 40 ms (default 30 ms)  below every timer\n" in page.getvalue()
    assert lines.getvalue().endswith(
        """\
  nagle-delayed-ack  error, warning  A segment waited for nothing.
      min-ack-delay = 40 ms (default 30 ms)
  tail               error, warning  A segment waited for nothing.
      excluded by the configuration
"""
    )


def test_the_pages_of_several_rules() -> None:
    out, tail, tinygrams = StringIO(), StringIO(), StringIO()
    write_pages([Page(name="tail"), Page(name="tinygrams")], out, Terminal(80))
    write_pages([Page(name="tail")], tail, Terminal(80))
    write_pages([Page(name="tinygrams")], tinygrams, Terminal(80))
    assert out.getvalue() == f"{tail.getvalue()}\n{tinygrams.getvalue()}"


def test_what_a_message_means() -> None:
    """What decides comes first where something does; else the rules, with their kinds; a rule that does not exist is left out."""
    tail, other = Page(name="tail"), Page(name="tinygrams")
    decided = Message(
        "Acme", ("x",), "the SYN was lost", (Case("reused", (("tail", ""),)), Case("", (("tinygrams", "a, b"), ("none", "")))),
        "acme.c", "s", quotes=False,
    )  # fmt: skip
    plain = decided._replace(cases=(Case("", (("tail", "c"),)), Case("cause", (("tinygrams", ""),))), read="u")
    out, later = StringIO(), StringIO()
    write_message(decided, [tail, other], out, Terminal(80))
    write_message(plain, [tail, other], later, Terminal(80))
    assert out.getvalue().startswith(
        """\
How to decide: if the request was not the first of its connection: tail;
otherwise: tinygrams (a, b).
What the words mean (Acme): the SYN was lost. Source: acme.c.

tail (family stalls)
"""
    )
    assert out.getvalue().endswith(
        """
The next likeliest:
  tinygrams (a, b)  error, warning  A segment waited for nothing.
"""
    )
    assert later.getvalue().startswith(
        """\
What the words mean (Acme, unverified): the SYN was lost.
The rules, the likeliest first: tail (c); its cause: tinygrams.

tail (family stalls)
"""
    )


def test_what_a_search_found() -> None:
    out = StringIO()
    write_found([Page(name="tail"), Page(family="lifetime")], "40 ms", out, Terminal(80))
    assert (
        out.getvalue()
        == """\
2 rules for "40 ms":

  tail               error, warning  A segment waited for nothing.
  nagle-delayed-ack  error, warning  A segment waited for nothing.

wiredoctor explain tail shows the page of the first rule.
"""
    )


def test_not_all_that_a_search_found() -> None:
    out = StringIO()
    write_found([Page(name="tail")], "slow", out, Terminal(80), more=7)
    assert out.getvalue().startswith('1 rule of 8 for "slow":\n')
