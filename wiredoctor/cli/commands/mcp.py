"""wiredoctor mcp: serve captures to a language model over the Model Context Protocol."""

from __future__ import annotations

import atexit
import gc
import os
import signal
from typing import Annotated

import typer

from wiredoctor.cli import signals
from wiredoctor.cli.exit_codes import Exit, UsageError
from wiredoctor.cli.options import parse_size


def mcp(
    folder: Annotated[
        list[str],
        typer.Option(
            "--folder", metavar="FOLDER", help="Folder whose captures the model may read (repeatable).", show_default=False
        ),
    ],
    max_size: Annotated[
        str, typer.Option("--max-size", metavar="SIZE", help="Maximum size of a capture, before and after unpacking.")
    ] = "2GB",
    max_time: Annotated[int, typer.Option("--max-time", metavar="SECONDS", min=1, help="Maximum duration of an analysis.")] = 120,
) -> int:
    """Serve captures to a program with a language model: analyze, list findings and exchanges, show packets, explain rules.

    The protocol is MCP over standard input and output. Secrets are always masked.
    """
    try:
        from wiredoctor.mcp.server import serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "mcp":
            raise
        raise UsageError("the MCP SDK is not installed: pip install 'wiredoctor[mcp]'") from None
    from wiredoctor.mcp.captures import Archive, Bounds

    for one in folder:
        if not os.path.isdir(one):
            raise UsageError(f"--folder {one}: not a folder")
        if not os.access(one, os.R_OK | os.X_OK):
            raise UsageError(f"--folder {one}: no permission to read")
    gc.enable()  # `main` turned the collector off, but a server runs for a long time
    for one in signals.STOPPING:
        if signal.getsignal(one) is signals.stop:  # otherwise the signal is ignored (nohup)
            signal.signal(one, _leave)
    serve(Archive(folder, Bounds(parse_size("--max-size", max_size) or 0, max_time)))
    return Exit.OK


def _leave(number: int, _frame: object) -> None:
    """End the process at once. After an exception, the event loop could wait forever for the thread that reads its input."""
    for one in signals.STOPPING:
        signal.signal(one, signal.SIG_IGN)
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    signals.end(number)
