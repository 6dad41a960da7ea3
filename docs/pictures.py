"""The pictures of the documents: a ladder for the page of each rule, from real packets, and a terminal for README.md.

`python docs/generate.py --output` writes them; docs/pictures.toml says what each is made from. photographs.py takes pictures of
pages.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from rich.console import Console
from rich.text import Text
from rule_pages import picture_sources, recording_named

import wiredoctor
from wiredoctor.findings import Finding, Report
from wiredoctor.report.ladder import build
from wiredoctor.report.ladder.draw_svg import svg
from wiredoctor.tables import SECOND
from wiredoctor.testing import ladder_packets, to_pcap

ROOT = Path(__file__).resolve().parent.parent
SOURCES = picture_sources()
"""Rule -> what its picture is made from."""

LOOKALIKES: dict[str, dict[str, Any]] = tomllib.loads((ROOT / "docs" / "lookalikes.toml").read_text("utf-8"))
"""Healthy traffic that looks like a fault: name -> what its picture is made from, and what it is mistaken for."""

RULES = ROOT / "docs" / "pages" / "rules" / "pictures"
HEALTHY = ROOT / "docs" / "pages" / "pictures" / "healthy"
TERMINAL = ROOT / "docs" / "pages" / "pictures" / "exchanges.svg"
SHOWN = "wiredoctor exchanges captures/stalls/server-head-body-split.pcap"

MAX_STEPS = 14
"""Packets of a picture: it has to be taken in at a glance."""

FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="title">
<title id="title">TITLE</title>
<style>
.{unique_id}-matrix {{ font: 20px/{line_height}px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace; }}
.{unique_id}-title {{ font: bold 18px system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""
"""rich's frame without the fonts that it fetches, and with a title for those who do not see the picture."""


def every() -> dict[Path, str]:
    """Path -> text of each picture."""
    pictures = {RULES / f"{rule}.svg": of_rule(rule, source) for rule, source in SOURCES.items()}
    healthy = {HEALTHY / f"{name}.svg": of_lookalike(name, source) for name, source in LOOKALIKES.items()}
    return {**pictures, **healthy, TERMINAL: terminal(SHOWN)}


def title(rule: str) -> str:
    """What the picture of a rule is of, without having read its capture."""
    name = SOURCES[rule].get("capture")
    of = f"in {recording_named(name).relative_to(ROOT).as_posix()}" if name else "a conversation made by hand"
    return f"Ladder diagram: {rule}{' ' if name else ', '}{of}"


def of_rule(rule: str, source: dict[str, Any]) -> str:
    """The ladder of a rule's finding."""
    with capture_of(source) as file:
        return _drawn(rule, source, file)


@contextmanager
def capture_of(source: dict[str, Any]) -> Iterator[Path]:
    """Yield the recording that a source names, or a capture of the conversation that it has as text."""
    if "capture" in source:
        yield recording_named(source["capture"])
        return
    with TemporaryDirectory() as folder:
        file = Path(folder) / "conversation.pcap"
        file.write_bytes(_typed(source["text"], *source.get("back", (0, 0.0))))
        yield file


def of_lookalike(name: str, source: dict[str, Any]) -> str:
    """Draw the packets of a look-alike: those of one connection, or a range of frames."""
    with capture_of(source) as file:
        report = wiredoctor.analyze(file, keep=True)
        frames = tuple(source["frames"]) if "frames" in source else None
        made = build.of_connection(report, report.captures[0].file, source.get("connection"), frames=frames, most=MAX_STEPS)
    assert made.steps, f"{name}: {made.missing}"
    return svg(made, f"Ladder diagram of healthy traffic: {name.replace('-', ' ')}.", name=name)


def _typed(text: str, behind: int, seconds: float) -> bytes:
    packets = ladder_packets(text)
    back = round(seconds * SECOND)
    return to_pcap([replace(p, time=p.time - back) if i >= behind else p for i, p in enumerate(packets)])


def _drawn(rule: str, source: dict[str, Any], file: Path) -> str:
    report = wiredoctor.analyze(file, keep=True)
    found = [f for f in report.findings if f.rule == rule and source.get("kind") in (None, f.kind)]
    assert found, f"{rule}: not found in {file.name}"
    made = _ladder(report, found[0], source)
    assert made.steps, f"{rule}: {made.missing}"
    return svg(made, f"{title(rule)}. {found[0].title}.", name=rule)


def _ladder(report: Report, finding: Finding, source: dict[str, Any]) -> build.Ladder:
    if "connection" not in source:
        return build.of_findings(report, [finding], MAX_STEPS)[0]
    frames = source.get("frames")
    return build.of_connection(
        report,
        finding.capture,
        source["connection"],
        frames=tuple(frames) if frames else None,
        most=MAX_STEPS,
        findings=[finding],
    )


def terminal(command: str) -> str:
    """What a command prints in a terminal with colours, and the command itself, as a picture."""
    done = subprocess.run(
        [sys.executable, "-m", *command.split(), "--color", "always"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "90", "PYTHONUTF8": "1", "TZ": "UTC"},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    console = Console(record=True, width=90, file=StringIO())
    console.print(Text.from_ansi(f"$ {command}\n{done.stdout}"), soft_wrap=True)
    return console.export_svg(title=command, code_format=FRAME.replace("TITLE", escape(command)), unique_id="terminal")


def words(picture: str) -> list[str]:
    """The texts of a picture, in order, without their places: these do not depend on the version of what drew it."""
    texts = (
        "".join(e.itertext()) for e in ElementTree.fromstring(picture).iter() if e.tag.endswith(("}text", "}title", "}desc"))
    )
    return [" ".join(text.split()) for text in texts if text.strip()]


def refresh() -> None:
    """Writes all pictures, and removes those of rules that are gone."""
    made = every()
    for path, text in made.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    for old in {*RULES.glob("*.svg"), *HEALTHY.glob("*.svg")} - made.keys():
        old.unlink()
