"""--baseline: the fingerprints in a report of before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wiredoctor.cli.exit_codes import UsageError


def fingerprints(path: str) -> frozenset[str]:
    """Return those of the findings in a JSON or JSON Lines report, none without a path; raises UsageError if it is neither."""
    if not path:
        return frozenset()
    try:
        text = Path(path).read_text("utf-8")
    except OSError as error:
        raise UsageError(f"--baseline {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--baseline {path}: is not JSON") from None
    try:
        found = [*_findings(text)]
        return frozenset(str(one["fingerprint"]) for one in found)
    except (ValueError, RecursionError):  # also of numbers of thousands of digits, and of lists in lists in lists
        raise UsageError(f"--baseline {path}: is not JSON") from None
    except (KeyError, TypeError):
        raise UsageError(f"--baseline {path}: is JSON, but no report of wiredoctor") from None


def _findings(text: str) -> Iterator[Any]:
    """The findings of a report; of JSON Lines each line but the last, which has the summary."""
    try:
        report: Any = json.loads(text)
    except json.JSONDecodeError:
        lines: list[Any] = [json.loads(line) for line in text.splitlines() if line.strip()]
        if not lines:
            raise
        yield from (one for one in lines if "summary" not in one)
        return
    if "findings" in report:
        yield from report["findings"]
    elif "summary" not in report:
        yield report
