"""Run all commands that read captures in this process, and print what they print and write, as JSON.

`python -m tests.support.system_trial hidden` runs them without what Windows lacks; tests compare the results with those of an
ordinary run. Standard input has the arguments of `results` as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

LOG = b'10.9.0.1 - - [20/Nov/2026:09:49:48 +0000] "GET / HTTP/1.1" 502 300 "-" "-"\n'

ONCE = (
    "rules",
    "schema",
    "explain nagle-delayed-ack",
    "explain socket hang up",
    "analyze OUT/none.pcap",
    "explain-log OUT/none CAP",
)
"""Command lines that are run once; the first capture is CAP, and OUT is a temporary folder."""

EACH = (
    "analyze CAP --all",
    "analyze CAP --format json --full -o OUT/a.html -o OUT/a.json -o OUT/a.sarif -o OUT/a.md -o OUT/a.har -o OUT/a.csv --utc",
    "analyze CAP --quiet -o OUT/a.html -o OUT/copy.pcapng -o OUT/tables/ --tables-format arrow --only-findings",
    "show CAP --finding 1",
    "show CAP --connection 0 --all",
    "exchanges CAP --format csv",
    "connections CAP",
    "servers CAP --format json",
    "extract CAP --finding 1 -o OUT/small.pcapng",
    "compare CAP CAP",
    "explain-log OUT/log CAP",
)
"""Command lines that are run with each capture."""


def results(captures: Sequence[str], lines: Sequence[str], *, also_others: bool = False) -> dict[str, Any]:
    """Return for each command line the exit code, standard output, standard error, and the files that it wrote.

    `also_others`: also run what needs no capture, the Python interface, and the tools of `mcp`.
    """
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        (out / "log").write_bytes(LOG)
        found = {f"{number} {line}": _result(line, one, out) for number, one in enumerate(captures) for line in lines}
        if also_others:
            found |= {line: _result(line, captures[0], out) for line in ONCE}
            found |= {f"wiredoctor.analyze {number}": _findings(one) for number, one in enumerate(captures)}
            found |= {f"mcp {number}": answer for number, answer in enumerate(_answers(captures[0]))}
    return found


def _result(line: str, capture: str, out: Path) -> list[Any]:
    from tests.support.command_line import run_command

    words = [word.replace("OUT", str(out), 1) if word.startswith("OUT") else word for word in line.split()]
    done = run_command(*(capture if word == "CAP" else word for word in words))
    written: dict[str, str] = {}
    for path in sorted(out.rglob("*")):
        if path.is_file() and path.name != "log":
            written[str(path.relative_to(out))] = _without(path.read_bytes(), capture, out)
            path.unlink()
    return [
        done.exit_code,
        _without(done.stdout_bytes, capture, out),
        _without(done.stderr_bytes, capture, out),
        written,
        repr(done.exception),
    ]


def _without(content: bytes, capture: str, out: Path) -> str:
    """Return a text without the folder of outputs, and without quotes for a shell, which differ between systems."""
    for name in (capture.encode(), json.dumps(capture)[1:-1].encode()):
        for quote in (b"'", b'"', b'\\"', b"&#39;", b"&#34;"):
            content = content.replace(quote + name + quote, name)
    return content.replace(os.fsencode(out), b"OUT").decode("latin-1")


def _findings(capture: str) -> list[str]:
    import wiredoctor

    try:
        return [repr(one) for one in wiredoctor.analyze(capture).findings]
    except Exception as error:  # noqa: BLE001 - both sides must fail alike
        return [repr(error)]


def _answers(capture: str) -> Iterator[Any]:
    from wiredoctor.mcp.captures import Archive, Bounds
    from wiredoctor.mcp.server import Tools

    folder, name = os.path.split(capture)
    tools = Tools(Archive([folder], Bounds(1 << 30, 100)))
    yield [one["path"] for one in tools.list_captures()["captures"]]
    yield tools.analyze(name)
    yield tools.list_findings(name)
    yield tools.show_finding(name, 1)
    yield tools.list_exchanges(name)
    yield tools.show_connection(name, 0)
    yield tools.explain_rule("nagle-delayed-ack")


def main() -> None:
    """Run the trial."""
    if "hidden" in sys.argv:
        from tests.support import lacking

        lacking.install()
    sys.stdout.write(json.dumps(results(**json.load(sys.stdin)), default=repr))


if __name__ == "__main__":
    main()
