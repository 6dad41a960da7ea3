"""wiredoctor schema: print the JSON Schema of the reports."""

from __future__ import annotations

import json
import sys

from wiredoctor.cli.exit_codes import Exit


def schema() -> int:
    """Print the JSON Schema (draft 2020-12) of the output of `analyze --format json`."""
    from wiredoctor.report.data.json_schema import schema as report_schema

    sys.stdout.write(json.dumps(report_schema(), indent=2) + "\n")
    return Exit.OK
