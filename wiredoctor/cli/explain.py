"""wiredoctor explain: the manual page of a rule."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from wiredoctor.cli.exits import Exit, UsageError
from wiredoctor.cli.options import Color, Colors, suggestion
from wiredoctor.cli.outputs import Text, stdout_paper


def explain(
    words: Annotated[
        list[str], typer.Argument(metavar="RULE", help="Name of a rule, or words to look for in the manual.", show_default=False)
    ],
    color: Colors = Color.auto,
) -> int:
    """Print the manual page of a rule: what it means, how it is proved, what to do."""
    from wiredoctor.pipeline import catalogue
    from wiredoctor.report.manual import search, write_list, write_page

    rules, wanted = catalogue(), " ".join(words)
    found = search(rules, wanted)
    if not found:
        raise UsageError(f"no rule is called {wanted!r} or speaks of it{suggestion(wanted, rules)}")
    paper = stdout_paper(color)
    with Text(sys.stdout.buffer, paper) as out:
        if len(found) == 1:
            write_page(found[0], out, paper)
        else:
            write_list(found, out, paper)
    return Exit.DONE
