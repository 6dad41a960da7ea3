"""Analyze the captures named on standard input; write a line of JSON with the report of each to standard output.

Runs in the interpreter whose product is asked: the checkout's, or that of an earlier commit (reference.py). Secrets are shown, so
that what is compared is the analysis and not the redaction.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from typing import Any

from wiredoctor import pipeline
from wiredoctor.pipeline import analyze
from wiredoctor.report.data.json import write


def answer(path: str, options: dict[str, Any]) -> str:
    """Return the full JSON report of a capture on one line, or the first line of what it was refused with."""
    out = io.BytesIO()
    problems: list[str] = []
    try:
        write(analyze(path, show_secrets=True, on_error=problems.append, **options), out, full=True)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - an internal error is an answer, too, and so is a panic in Polars
        return json.dumps({"error": f"{type(error).__name__}: {error}"})
    return json.dumps({"problems": problems, "report": json.loads(out.getvalue())})


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", type=int, help="packets that are analyzed at a time")
    parser.add_argument("--jobs", type=int, help="processes for each capture, however small it is")
    chosen = parser.parse_args()
    named = {"epoch_packets": chosen.step, "jobs": chosen.jobs}
    options = {name: value for name, value in named.items() if value}
    for line in sys.stdin:
        path = line.rstrip("\n")
        print(answer_in_fork(path, options) if chosen.jobs else answer(path, options), flush=True)


def answer_in_fork(path: str, options: dict[str, Any]) -> str:
    """Return the answer of a process of its own: several processes are forked only before Polars has run."""
    pipeline.SHARED_FROM = 0
    reader, writer = os.pipe()
    if not os.fork():
        os.close(reader)
        with open(writer, "w") as pipe:
            pipe.write(answer(path, options))
        os._exit(0)
    os.close(writer)
    with open(reader) as pipe:
        found = pipe.read()
    os.wait()
    return found or json.dumps({"error": "the process died"})


if __name__ == "__main__":
    main()
