"""Compose the commands that a reader of a report may want next."""

from __future__ import annotations

from wiredoctor import system
from wiredoctor.findings import CaptureSummary, Finding, Report
from wiredoctor.report.words import clean, count
from wiredoctor.text.regex import Regex

SHORT = 8
"""The number of fingerprint digits that reports show, and that `--finding` and `[[ignore]]` accept."""

MAX_NAMED = 3
"""The maximum number of captures that a command names. If there are more, the command has a placeholder."""

_LIVE = ("live: ", "run: ")
_STANDARD_INPUT = "-"
_PLACEHOLDER = "CAPTURE"
_ESCAPED_BYTE = r"x[89a-f][0-9a-f]"
"""A pattern for a byte that is not UTF-8, as reports escape it in a file name, without the backslash: xe9 in caf\\xe9.pcap."""
_HAS_ESCAPED_BYTE = Regex(rf"\\{_ESCAPED_BYTE}")
_OTHER_BACKSLASH = Regex(rf"\\(?!{_ESCAPED_BYTE})")


def short_fingerprint(finding: Finding) -> str:
    """Return the first SHORT digits of a finding's fingerprint."""
    return finding.fingerprint[:SHORT]


def show_command(report: Report, finding: Finding) -> str:
    """Return the command that shows a finding packet by packet; empty if the packets were not kept in a file.

    The command reads only the capture of the finding. If the report has several captures, the number of the finding is not valid
    for one capture alone, so the command names the fingerprint instead.
    """
    alone = len(report.captures) == 1 and finding.number is not None
    return show_place_command(report, finding.capture, f"--finding {finding.number if alone else short_fingerprint(finding)}")


def show_place_command(report: Report, file: str, options: str) -> str:
    """Return the command that shows part of a capture packet by packet; empty if the packets were not kept in a file.

    `options`: the options that select the part.
    """
    capture = next((one for one in report.captures if one.file == file), None)
    return f"wiredoctor show {_name(capture)} {options}" if capture is not None and _is_file(capture) else ""


def show_any_command(report: Report) -> str:
    """Return the command that shows a finding, with N in place of its number; "" if no capture was kept in a file."""
    if not any(map(_is_file, report.captures)):
        return ""
    captures = _name(report.captures[0]) if len(report.captures) == 1 else _PLACEHOLDER + "..."
    return f"wiredoctor show {captures} --finding N"


def next_commands(report: Report, finding: Finding) -> list[str]:
    """Return the commands that show more about a finding: its packets, and its rule."""
    return [command for command in (show_command(report, finding), f"wiredoctor explain {finding.rule}") if command]


def rest_in_full(report: Report, rest: int) -> tuple[str, str]:
    """Return a phrase and a command that lead a reader to the full descriptions of the remaining problems.

    `rest`: the number of problems that the report does not show in full.
    """
    others = f"The other {'problem' if rest == 1 else count(rest, 'problem')} in full:"
    if are_kept(report):
        return others, analyze_command(report)
    return f"{others} capture with -w FILE.pcapng, then", "wiredoctor analyze FILE.pcapng --all"


def analyze_command(report: Report) -> str:
    """Return the command that analyzes the same captures again and lists everything (--all)."""
    names = [_name(one) if _is_file(one) else _PLACEHOLDER for one in report.captures]
    shown = names if 0 < len(names) <= MAX_NAMED else [_PLACEHOLDER + "..."]
    return f"wiredoctor analyze {' '.join(dict.fromkeys(shown))} --all"


def was_kept(file: str) -> bool:
    """Return whether the packets of a capture can be read again. They cannot if a live capture was not kept in a file."""
    return not file.startswith(_LIVE)


def are_kept(report: Report) -> bool:
    """Return whether the packets of at least one capture were kept (see `was_kept`)."""
    return any(was_kept(one.file) for one in report.captures)


def _is_file(capture: CaptureSummary) -> bool:
    return capture.file != _STANDARD_INPUT and was_kept(capture.file)


def _name(capture: CaptureSummary) -> str:
    """Return the name of a capture, quoted for a shell, or a placeholder if the capture consists of several files."""
    return _PLACEHOLDER if capture.files else shell_word(capture.file)


def shell_word(file: str) -> str:
    """Return the name of a file as printable text that a shell turns into that name, and that no command reads as an option.

    Control characters, and bytes that are not UTF-8, need the quotes $'...' of bash, zsh and POSIX.1-2024.
    """
    errors = "surrogateescape" if system.POSIX_QUOTES else "backslashreplace"  # Windows has no bytes in names
    name = file.encode(errors=errors).decode(errors="backslashreplace")
    name = f"./{name}" if name.startswith("-") else name
    if not system.POSIX_QUOTES or (clean(name) == name and not _HAS_ESCAPED_BYTE.search(name)):
        return system.quote(clean(name))
    escaped = _OTHER_BACKSLASH.sub(r"\\\\", name).replace("'", r"\'")
    return f"$'{clean(escaped)}'"
