"""Read the fingerprints of the findings in an earlier report (--baseline)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wiredoctor.cli.exit_codes import UsageError, reason

_WRITE_ONE = "; write a report of the earlier capture with: wiredoctor analyze CAPTURE -o known.json"


def fingerprints(path: str) -> frozenset[str]:
    """Return the fingerprints in the JSON or JSON Lines report at `path`; an empty set if `path` is "".

    Raise UsageError if the file cannot be read or is not a wiredoctor report.
    """
    if not path:
        return frozenset()
    try:
        return frozenset(str(one["fingerprint"]) for one in _findings(Path(path).read_text("utf-8-sig")))
    except OSError as error:
        raise UsageError(f"--baseline {path}: {reason(error, path)}") from None
    except (ValueError, RecursionError):  # also raised for bytes that are not UTF-8, very long numbers, and deep nesting
        raise UsageError(f"--baseline {path}: is not JSON{_WRITE_ONE}") from None
    except (KeyError, TypeError):
        raise UsageError(f"--baseline {path}: is JSON, but not a wiredoctor report") from None


def _findings(text: str) -> Iterator[Any]:
    """Yield the findings in a JSON report or in JSON Lines, whose last line is the summary."""
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
