"""Check whether the other options permit -o FILE.pcapng, which copies the capture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wiredoctor.cli.exit_codes import UsageError

if TYPE_CHECKING:
    from wiredoctor.cli.outputs import Output


def check_copies(files: Sequence[Output], captures: Sequence[str], *, merge: bool, only_findings: bool) -> None:
    """Raise UsageError if a requested copy would have several captures as its source, or would overwrite an input.

    Also raise UsageError if `only_findings` is set but no copy is requested: --only-findings only limits what is copied.
    """
    copies = [file.path for file in files if file.format == "pcapng"]
    if only_findings and not copies:
        raise UsageError("--only-findings applies to copies of packets only: add -o FILE.pcapng")
    if not copies or not captures:
        return
    from wiredoctor.pipeline import find_inputs

    # unreadable captures are reported when they are read
    read = find_inputs(captures, lambda _: None, merge=merge)
    if len(read) > 1:
        raise UsageError(f"-o {copies[0]}: copies exactly one capture, not {len(read)}: name one of them, or add --merge")
    for path in copies:
        for name in (name for one in read for name in one.files):
            if path.exists() and os.path.exists(name) and path.samefile(name):
                raise UsageError(f"-o {path} would overwrite an input capture")
