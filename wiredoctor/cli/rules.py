"""wiredoctor rules: the list."""

from __future__ import annotations

import sys

from wiredoctor.cli.exits import Exit
from wiredoctor.cli.options import Color, Colors
from wiredoctor.cli.outputs import Text, stdout_paper


def rules(color: Colors = Color.auto) -> int:
    """List all rules by family, with the severities of their findings."""
    from wiredoctor.pipeline import catalogue
    from wiredoctor.report.manual import write_list

    paper = stdout_paper(color)
    with Text(sys.stdout.buffer, paper) as out:
        write_list(catalogue().values(), out, paper)
    return Exit.DONE
