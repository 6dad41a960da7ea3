"""wiredoctor extract: write the packets that show a finding as a separate capture."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from wiredoctor import Finding, Report, system
from wiredoctor.cli import options
from wiredoctor.cli.choosing import Findings, check_connection, chosen_finding
from wiredoctor.cli.config_file import configuration
from wiredoctor.cli.exit_codes import Exit, UsageError, reason
from wiredoctor.cli.outputs import stdout_paper, writable
from wiredoctor.cli.rulebook import every_rule
from wiredoctor.cli.running import combine_request, run
from wiredoctor.report.terminal.terminal import TerminalWriter
from wiredoctor.report.words import clean, count, duration
from wiredoctor.settings import Settings
from wiredoctor.storage.replacement import replacing

if TYPE_CHECKING:
    from wiredoctor.extract.anonymize.checked import Checked
    from wiredoctor.extract.minimize import Cutter, Extract


def extract(
    captures: options.Captures,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The pcapng file to write.")],
    finding: Findings = None,
    connection: Annotated[
        list[int] | None,
        typer.Option("--connection", metavar="ID", min=0, help="Extract this connection (tcp.stream; repeatable)."),
    ] = None,
    anonymize: Annotated[
        bool, typer.Option("--anonymize", help="Replace addresses, names, tokens and bodies, but keep the finding.")
    ] = False,
    merge: options.Merge = False,
    max_spool: options.MaxSpool = None,
    select: options.Selects = None,
    ignore: options.Ignores = None,
    config: options.Configurations = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Extract complete connections, or the smallest capture in which an analysis still reports the chosen finding.

    Packets are copied unchanged with everything they contain: share them with care, or add --anonymize. A finding has the same
    number as in the report of analyze with the same rules.
    """
    if (finding is None) == (not connection):
        raise UsageError("specify --finding N (see wiredoctor analyze) or --connection ID (see wiredoctor connections)")
    path = _path(output, captures)
    rules = every_rule()
    read = configuration(config, rules)._replace(entries=(), baseline="")
    settings = Settings(merge=merge, keep=True, max_spool=options.parse_size("--max-spool", max_spool), jobs=0)
    request = combine_request(rules, read, settings, options.parse_filter(), select, ignore)
    report, complete = run(captures, request, quiet=quiet, verbose=verbose)
    if not report.captures:
        return Exit.BAD_INPUT
    _one_capture(report)
    from wiredoctor.extract.minimize import Cutter, NotShown

    with _temporary(request.settings._replace(merge=False, max_spool=None, jobs=1)) as (folder, analyse):
        summaries = {name for name, module in rules.items() if module.rule.summary}
        cutter = Cutter(report, analyse, folder, summaries)
        try:
            cut = _extract(report, cutter, finding, connection or [])
        except NotShown as error:
            raise UsageError(f"--finding {finding}: {error}") from None
        anonymous = _anonymous(cut, path, folder / "anonymous.pcapng", analyse) if anonymize else None
        if anonymous is None:
            _write(path, report, cut)
    if not quiet:
        _report_extract(output, report, cut, anonymous, finding)
    return Exit.OK if complete else Exit.BAD_INPUT


def _path(output: str, captures: list[str]) -> Path:
    path = Path(output)
    if path.suffix.lower() != ".pcapng":
        raise UsageError(f"-o {output}: packets are written as pcapng, so the name must end in .pcapng")
    if path.is_dir():
        raise UsageError(f"-o {output}: is a directory")
    writable(path)
    if path.exists() and any(os.path.exists(capture) and path.samefile(capture) for capture in captures):
        raise UsageError(f"-o {output} would overwrite an input capture")
    return path


def _one_capture(report: Report) -> None:
    if len(report.captures) > 1:
        raise UsageError(f"extract needs exactly one capture, not {len(report.captures)}: name one, or add --merge")


@contextmanager
def _temporary(settings: Settings) -> Generator[tuple[Path, Callable[[Path], Report]]]:
    """Yield a temporary folder, and a function that analyzes a capture in it and keeps it open until the folder is removed."""
    from tempfile import TemporaryDirectory
    from weakref import WeakSet

    from wiredoctor.pipeline import run as analyze

    opened: WeakSet[Any] = WeakSet()

    def analyse(path: Path) -> Report:
        report = analyze([path], settings)
        opened.update(report.packets.values())
        return report

    temporary = TemporaryDirectory(prefix="wiredoctor-")
    with temporary as folder:
        try:
            yield Path(folder), analyse
        finally:
            for access in opened:  # Windows removes no open file
                access.close()
            system.insist(temporary.cleanup)


def _extract(report: Report, cutter: Cutter, finding: str | None, connections: list[int]) -> Extract:
    if finding is not None:
        return cutter.of_finding(chosen_finding(report, finding))
    for connection in connections:
        check_connection(report, report.captures[0].file, connection)
    return cutter.of_connections(connections)


def _write(path: Path, report: Report, cut: Extract) -> None:
    """Write the extract to `path`, with packets copied from the capture."""
    from wiredoctor.extract.minimize import write

    [capture] = report.captures
    about = f"wiredoctor: {len(cut.frames):,} of the {capture.packets:,} packets of {os.path.basename(capture.file)}"
    with _replacing(path) as out:
        write(report, out, cut.frames, about)


@contextmanager
def _replacing(path: Path) -> Generator[BinaryIO]:
    try:
        with replacing(path) as out:
            yield out
    except OSError as error:
        raise UsageError(f"-o {path}: {reason(error, str(path))}") from None


def _anonymous(cut: Extract, path: Path, attempt: Path, analyse: Callable[[Path], Report]) -> Checked:
    """Write an anonymized form of the extract to `path`, and return the result of its checks.

    The file is first written to `attempt`. If the file fails a check, raise UsageError and leave `path` unchanged.
    """
    from wiredoctor.extract.anonymize.checked import NotAnonymous, write_anonymous

    try:
        checked = write_anonymous(cut.report, attempt, analyse, os.urandom(32))
    except NotAnonymous as error:
        raise UsageError(f"--anonymize: nothing was written: {error}") from None
    with attempt.open("rb") as source, _replacing(path) as out:
        shutil.copyfileobj(source, out)
    return checked


def _report_extract(output: str, report: Report, cut: Extract, anonymous: Checked | None, number: str | None) -> None:
    from wiredoctor.extract.minimize import causes_not_shown
    from wiredoctor.report.commands import shell_word
    from wiredoctor.report.groups import group_findings
    from wiredoctor.report.headline import counts

    [capture] = report.captures
    shown, found, packets = cut.report, cut.found, len(cut.frames)
    if anonymous is not None:
        shown, found, packets = anonymous.report, found and anonymous.like(found), len(anonymous.frames)
    lines = [f"{clean(output)}: {packets:,} of {count(capture.packets, 'packet')}"]
    if found is not None and number is not None:
        whole = chosen_finding(report, number)
        numbers = _changed_numbers(whole, found)
        # `found` may be anonymized, which changes the names in its text
        has_other_text = not numbers and cut.found is not None and _text(cut.found) != _text(whole)
        unchanged = "" if numbers or has_other_text else " unchanged"
        lines.append(f"a new analysis shows finding {number} of the capture{unchanged}: {_facts(found)}")
        lines += [f"the finding's numbers cover only the packets that were kept: {numbers}"] if numbers else []
        lines += ["the finding's description differs, because it depends on packets that were left out"] if has_other_text else []
        causes = causes_not_shown(whole, found)
        lines += [f"the finding's cause is not visible without packets that were left out: {', '.join(causes)}"] if causes else []
    else:
        shows = str(counts(shown, group_findings(shown.findings))) or "no problem"
        lines.append(f"a new analysis shows {shows.rstrip('.')}")
        lines += _gone(report, cut)
    lines += _invented(cut)
    if anonymous is not None:
        from wiredoctor.extract.anonymize.checked import left_out

        lines.append("addresses, names, tokens and bodies were replaced; a search found no originals")
        if anonymous.left_out:
            lines.append(f"packets left out because they could not be parsed completely: {left_out(anonymous.left_out)}")
    name = shell_word(output)
    by_number = "" if found is None else f"wiredoctor show {name} --finding {found.number}"
    lines.append(f"next: {by_number or f'wiredoctor analyze {name}'}")
    paper = stdout_paper(options.Color.never)
    writer = TerminalWriter(sys.stdout, paper)
    for line in lines[:-1]:
        writer.paragraph(line, hang=2)
    writer.unbroken(lines[-1])


def _changed_numbers(whole: Finding, cut: Finding) -> str:
    """Return how the numbers of a finding differ in the extract, such as "closes 1 instead of 3"; "" if they do not differ."""
    from wiredoctor.extract.minimize import differences

    written = [(one.name.replace("_", " "), _number(one.cut), _number(one.whole)) for one in differences(whole, cut)]
    return ", ".join(f"{name} {here} instead of {there}" for name, here, there in written if here != there)


def _text(finding: Finding) -> tuple[str, str, str]:
    return finding.title, finding.message, finding.remedy


def _number(value: float) -> str:
    return duration(value) if isinstance(value, float) else f"{value:,}"


def _gone(report: Report, cut: Extract) -> list[str]:
    """Return a list with one line about the findings that need packets outside the extract; empty if there are none."""
    from wiredoctor.extract.minimize import not_shown

    gone = [finding.rule_and_kind for finding in not_shown(report, cut)]
    return [f"{count(len(gone), 'occurrence')} needed packets that were left out: {', '.join(gone)}"] if gone else []


def _invented(cut: Extract) -> list[str]:
    """Return a list with one line about the errors and warnings that only the extract shows; empty if there are none."""
    names = sorted({finding.rule_and_kind for finding in cut.invented})
    return [f"only the extract shows {', '.join(names)}, because the extract lacks other packets"] if names else []


def _facts(finding: Finding) -> str:
    shown = finding.evidence[:8]
    frames = f"frame{'s' if len(shown) > 1 else ''} {', '.join(str(e.frame) for e in shown)}"
    delay = f", {duration(finding.delay)}" if finding.delay else ""
    return f"{finding.rule_and_kind}, {finding.confidence} confidence{delay}" + (f", now in {frames}" if shown else "")
