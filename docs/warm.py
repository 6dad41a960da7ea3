"""Runs commands of wiredoctor, each in a fork of a process that has imported all that they need; most take longer to import
than to run.

    python docs/warm.py

A line of JSON on standard input is the words of a command; a line on standard output its exit code and what it printed.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from tempfile import TemporaryFile

from wiredoctor import cli
from wiredoctor.rule_engine import catalogue

MODULES = (
    *(
        "rich.console",
        "wiredoctor.cli.app",
        "wiredoctor.cli.commands.analyze",
        "wiredoctor.pipeline",
        "wiredoctor.core.capture.pcap",
    ),
    *(
        "wiredoctor.rule_engine.render",
        "wiredoctor.gateways.exchange_columns",
        "wiredoctor.report.terminal.text",
        "wiredoctor.report.fail_on",
    ),
    *("wiredoctor.protocols.ip.encapsulations", "wiredoctor.report.data.json"),
)
"""What most commands import while they run; they import almost all else."""


def main() -> None:
    """Run commands until standard input ends."""
    os.environ |= {name: os.environ.get(name, value) for name, value in cli._LIBRARIES.items()}
    _import_all()
    gc.freeze()
    for line in sys.stdin:
        sys.stdout.write(f"{json.dumps(run(json.loads(line)))}\n")
        sys.stdout.flush()


def _import_all() -> None:
    """Import what commands use, and run none of it: threads that libraries start do not live on in a fork."""
    for name in MODULES:
        importlib.import_module(name)
    catalogue()


def run(words: list[str]) -> tuple[int, str, str]:
    """Return the exit code of a command, its output and its errors."""
    with TemporaryFile() as out, TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            _become(words, out.fileno(), errors.fileno())
        _, status = os.waitpid(child, 0)
        texts: list[str] = []
        for file in (out, errors):
            file.seek(0)
            texts.append(file.read().decode())
    return os.waitstatus_to_exitcode(status), texts[0], texts[1]


def _become(words: list[str], out: int, errors: int) -> None:
    code: object = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(errors, 2)
        sys.argv = ["wiredoctor", *words]
        cli.main()
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    main()
