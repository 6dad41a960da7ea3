"""Run the command line in this process, because another process takes half a second."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from wiredoctor.cli.app import application


def run_command(*words: object, **environment: str) -> Result:
    """Run a command line. COLUMNS and NO_COLOR are those of `environment` only."""
    env = {"COLUMNS": None, "NO_COLOR": None, **environment}
    line = [*map(str, words)]
    return CliRunner().invoke(application(line), line, env=env, prog_name="wiredoctor")
