"""wiredoctor explain: the manual page of a rule."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from wiredoctor.cli.config_file import check_thresholds, configuration
from wiredoctor.cli.exit_codes import Exit, UsageError
from wiredoctor.cli.options import Color, Colors, Configurations
from wiredoctor.cli.outputs import stdout_paper
from wiredoctor.cli.pager import paged
from wiredoctor.cli.rulebook import every_rule
from wiredoctor.report.terminal.terminal import TextOutput
from wiredoctor.report.words import join_words, shorten
from wiredoctor.text.suggestion import similar_names

MAX_INPUT = 100_000
MAX_SHOWN = 300


def _unknown(question: str, names: list[str]) -> str:
    """Return the error message for words that no rule has: similar names of rules or, if there are none, how to list all."""
    nobody = f"no rule has {question!r} in its name, its titles or its symptom"
    if names:
        return f"{nobody}; did you mean {join_words(names, 'or')}?"
    return f"{nobody}, and no error message is known with these words; wiredoctor rules lists all rules"


def _question(words: list[str]) -> str:
    """Return the words of the command line or, if they are missing or "-", the first MAX_INPUT bytes of standard input."""
    if words not in ([], ["-"]) and " ".join(words).strip():
        return " ".join(words)
    if sys.stdin is None or words not in ([], ["-"]) or (not words and sys.stdin.isatty()):
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
            help="Names of rules, an error message, or words of a rule's title or symptom; - reads them from standard input.",
            show_default=False,
        ),
    ] = None,
    config: Configurations = None,
    color: Colors = Color.auto,
) -> int:
    """Print the manual pages of rules: what their findings mean, how they are proved, and what to do.

    Instead of a rule, an error message can be given ("socket hang up"), or words of the title or the symptom of a rule ("502",
    "40 ms"). If several rules match, they are listed.
    """
    from wiredoctor.pipeline import configured
    from wiredoctor.report.terminal.manual import write_found, write_message, write_pages
    from wiredoctor.report.terminal.rule_search import MAX_RULES, at_once, find, message

    rules, wanted = every_rule(), _question(words or [])
    question = shorten(" ".join(wanted.split()), MAX_SHOWN)
    found, sure = find(rules, wanted)
    told = message(rules, wanted)
    if told and not told.rules:
        with paged() as page, TextOutput(page, stdout_paper(color)) as out:
            out.write(f"No rule covers {question!r}: {told.means}.\n")
        return Exit.OK
    if not found:
        raise UsageError(_unknown(question, similar_names(wanted, rules, MAX_RULES)))
    limits = check_thresholds(configuration(config, rules), rules)
    paper, named = stdout_paper(color), at_once(found, wanted)
    with configured(limits), paged() as page, TextOutput(page, paper) as out:
        if told:
            write_message(told, found, out, paper)
        elif sure:
            write_pages(found, out, paper)
        else:
            write_found(named, question, out, paper, more=len(found) - len(named))
    return Exit.OK
