"""wiredoctor explain: the manual page of a rule."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Collection
from typing import Annotated

import typer

from wiredoctor.cli.completion import rule_names
from wiredoctor.cli.config_file import check_thresholds, configuration
from wiredoctor.cli.exit_codes import Exit, UsageError
from wiredoctor.cli.options import Color, Colors, Configurations, suggestion
from wiredoctor.cli.outputs import Text, stdout_paper
from wiredoctor.cli.rulebook import every_rule


def _misspelt(word: str, rules: Collection[str]) -> str:
    """ "; did you mean ...?" for what is nearly a rule's name."""
    near = "-" in word and " " not in word and word not in rules and difflib.get_close_matches(word, rules, n=1, cutoff=0.8)
    return suggestion(word, rules) if near else ""


def _known(words: str, rules: Collection[str]) -> str:
    """What is known instead: a rule of nearly that name, or where to look."""
    from wiredoctor.report.terminal.error_messages import messages

    near = suggestion(words, rules)
    if "did you mean" in near:
        return near
    makers = dict.fromkeys(row.software.split()[0].rstrip(",") for row in messages() if row.software)
    return f"{near}; known are messages of {', '.join(makers)}"


def explain(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="RULE-OR-WORDS",
            help="Name of a rule, or what you would search for.",
            show_default=False,
            autocompletion=rule_names,
        ),
    ],
    config: Configurations = None,
    color: Colors = Color.auto,
) -> int:
    """Print the manual page of a rule: what it means, how it is proved, what to do.

    The words of an error message or of a complaint do too: "socket hang up", "40 ms". Several rules that fit are listed.
    """
    from wiredoctor.pipeline import configured
    from wiredoctor.report.terminal.manual import write_found, write_message, write_page
    from wiredoctor.report.terminal.rule_search import at_once, find, message

    rules, wanted = every_rule(), " ".join(words)
    found, sure = find(rules, wanted)
    told = message(rules, wanted)
    misspelt = _misspelt(wanted, rules)
    if told and not told.rules:
        with Text(sys.stdout.buffer, stdout_paper(color)) as out:
            out.write(f"No rule speaks of {wanted!r}: {told.means}.\n")
        return Exit.DONE
    if not found or misspelt:
        raise UsageError(f"no rule is called {wanted!r} or speaks of it{misspelt or _known(wanted, rules)}")
    limits = check_thresholds(configuration(config, rules), rules)
    paper, named = stdout_paper(color), at_once(found, wanted)
    with configured(limits), Text(sys.stdout.buffer, paper) as out:
        if told:
            write_message(told, found, out, paper)
        elif sure:
            write_page(named[0], out, paper, others=named[1:])
        else:
            write_found(named, wanted, out, paper, more=len(found) - len(named))
    return Exit.DONE
