"""Write a report as an annotated copy of the capture: -o FILE.pcapng."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from wiredoctor.cli.exit_codes import UsageError
from wiredoctor.cli.options import Format

if TYPE_CHECKING:
    from wiredoctor import Report
    from wiredoctor.cli.outputs import Output
    from wiredoctor.cli.writing import How
    from wiredoctor.report.terminal.terminal import Paper


def write_pcapng(report: Report, out: BinaryIO, _paper: Paper, how: How) -> None:
    """The capture with comments."""
    from wiredoctor.report.packets import pcapng

    try:
        pcapng.write(report, out, only_findings=how.only_findings)
    except ValueError as error:
        raise UsageError(str(error)) from None


def check_copies(files: Sequence[Output], captures: Sequence[str], *, merge: bool, only_findings: bool) -> None:
    """Raises UsageError where the capture cannot be copied so: there are several, or the copy would overwrite what is read."""
    copies = [file.path for file in files if file.format == Format.pcapng]
    if only_findings and not copies:
        raise UsageError("--only-findings is about copies of packets: add -o FILE.pcapng")
    if not copies or not captures:
        return
    from wiredoctor.pipeline import inputs

    # what cannot be read is told when it is read
    read = inputs(captures, lambda _: None, merge=merge)
    if len(read) > 1:
        raise UsageError(f"-o {copies[0]}: copies one capture, and these are {len(read)}: name one of them, or add --merge")
    for path in copies:
        for name in (name for one in read for name in one.files):
            if path.exists() and os.path.exists(name) and path.samefile(name):
                raise UsageError(f"-o {path} would overwrite a capture that is to be read")
