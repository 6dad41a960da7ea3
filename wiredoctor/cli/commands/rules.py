"""wiredoctor rules: list the rules."""

from __future__ import annotations

from wiredoctor.cli.config_file import check_thresholds, configuration
from wiredoctor.cli.exit_codes import Exit
from wiredoctor.cli.options import Color, Colors, Configurations
from wiredoctor.cli.outputs import stdout_paper
from wiredoctor.cli.pager import paged
from wiredoctor.cli.rulebook import every_rule
from wiredoctor.report.terminal.terminal import TextOutput


def rules(config: Configurations = None, color: Colors = Color.auto) -> int:
    """List all rules by family, with the severities of their findings, and with the settings that were changed."""
    from wiredoctor.pipeline import configured
    from wiredoctor.report.terminal.manual import write_list

    every = every_rule()
    read = configuration(config, every)
    wanted = {name for name, m in every.items() if not read.select or {name, m.family} & {*read.select}}
    ignored = {name for name, m in every.items() if name not in wanted or {name, m.family} & {*read.ignore}}
    paper = stdout_paper(color)
    with configured(check_thresholds(read, every)), paged() as page, TextOutput(page, paper) as out:
        write_list(every.values(), out, paper, ignored=ignored)
    return Exit.OK
