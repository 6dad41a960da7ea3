"""wiredoctor explain: the manual page of a rule."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Collection
from typing import Annotated

import typer

from wiredoctor.cli.config_file import check_thresholds, configuration
from wiredoctor.cli.exit_codes import Exit, UsageError
from wiredoctor.cli.options import Color, Colors, Configurations, suggestion
from wiredoctor.cli.outputs import stdout_paper
from wiredoctor.cli.pager import paged
from wiredoctor.cli.rulebook import every_rule
from wiredoctor.report.terminal.terminal import TextOutput
from wiredoctor.report.words import shorten

MAX_INPUT = 100_000
MAX_SHOWN = 300


def _misspelt(word: str, rules: Collection[str]) -> str:
    """Return "; did you mean ...?" if the word is almost a rule's name, otherwise ""."""
    near = "-" in word and " " not in word and word not in rules and difflib.get_close_matches(word, rules, n=1, cutoff=0.8)
    return suggestion(word, rules) if near else ""


def _suggestion(words: str, rules: Collection[str]) -> str:
    """Return the end of an error message: a similar rule name or, if there is none, how to list the rules.

    In the second case, the text also names the programs whose error messages are known.
    """
    from wiredoctor.report.terminal.error_messages import messages

    near = suggestion(words, rules)
    if "did you mean" in near:
        return near
    makers = dict.fromkeys(row.software.split()[0].rstrip(",").removesuffix("'s") for row in messages() if row.software)
    return f"{near}; wiredoctor knows error messages of {', '.join(makers)}"


def _question(words: list[str]) -> str:
    """Return the words of the command line or, if they are missing or "-", the first MAX_INPUT bytes of standard input."""
    if words not in ([], ["-"]):
        return " ".join(words)
    if sys.stdin is None or (not words and sys.stdin.isatty()):
        raise UsageError("name a rule, or paste an error message: wiredoctor explain 'socket hang up'")
    wanted = sys.stdin.buffer.read(MAX_INPUT).decode(errors="replace").strip()
    if not wanted:
        raise UsageError("standard input is empty")
    return wanted


def explain(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RULE-OR-WORDS",
            help="Name of a rule, an error message, or other search words; - reads them from standard input.",
            show_default=False,
        ),
    ] = None,
    config: Configurations = None,
    color: Colors = Color.auto,
) -> int:
    """Print the manual page of a rule: what its findings mean, how they are proved, and what to do.

    Instead of a rule, words of an error message or of a problem can be given: "socket hang up", "40 ms". If several rules match,
    they are listed.
    """
    from wiredoctor.pipeline import configured
    from wiredoctor.report.terminal.manual import write_found, write_message, write_page
    from wiredoctor.report.terminal.rule_search import at_once, find, message

    rules, wanted = every_rule(), _question(words or [])
    question = shorten(" ".join(wanted.split()), MAX_SHOWN)
    found, sure = find(rules, wanted)
    told = message(rules, wanted)
    misspelt = _misspelt(wanted, rules)
    if told and not told.rules:
        with paged() as page, TextOutput(page, stdout_paper(color)) as out:
            out.write(f"No rule covers {question!r}: {told.means}.\n")
        return Exit.OK
    if not found or misspelt:
        raise UsageError(f"no rule is called {question!r} or covers it{misspelt or _suggestion(wanted, rules)}")
    limits = check_thresholds(configuration(config, rules), rules)
    paper, named = stdout_paper(color), at_once(found, wanted)
    with configured(limits), paged() as page, TextOutput(page, paper) as out:
        if told:
            write_message(told, found, out, paper)
        elif sure:
            write_page(named[0], out, paper, others=named[1:])
        else:
            write_found(named, question, out, paper, more=len(found) - len(named))
    return Exit.OK
