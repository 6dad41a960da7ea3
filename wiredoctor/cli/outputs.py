"""Check and write outputs: standard output and the files of -o, checked before the analysis begins."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO, cast

from wiredoctor.cli.exit_codes import UsageError, print_message, reason
from wiredoctor.cli.options import Color
from wiredoctor.cli.pager import paged, standard_output
from wiredoctor.report.formats import FORMATS
from wiredoctor.report.terminal.terminal import Terminal
from wiredoctor.storage.replacement import make_folder, remove, replacing, resolve, room_needed
from wiredoctor.system import shows_escapes

PIPE_WIDTH = 100
"""The text width in characters if there is no terminal and COLUMNS is not set."""

Write = Callable[[str, BinaryIO, Terminal], None]
"""A function that writes a report to a stream. Text formats use the width, colors and encoding of the given Terminal."""


class Output(NamedTuple):
    """A file given with -o, and the format that its suffix names. A folder has the format "tables"."""

    path: Path
    format: str

    @property
    def option(self) -> str:
        """The option that names the output, for messages."""
        return f"-o {self.path}{os.sep if self.format == 'tables' else ''}"


class FileAccess(NamedTuple):
    """Functions that change the file system; `live` replaces them with requests to the recorder, which may have privileges."""

    replacing: Callable[[Path], AbstractContextManager[BinaryIO]] = replacing
    remove: Callable[[Path], None] = remove
    make_folder: Callable[[Path], None] = make_folder


DIRECT = FileAccess()
"""File access by this process itself, without the recorder."""


def outputs(paths: list[str] | None, captures: Sequence[str], forms: Collection[str] = FORMATS.keys()) -> list[Output]:
    """Return the outputs given with -o; raise UsageError if an output cannot be written or is one of `captures`.

    `forms`: the names of the available formats.
    """
    checked: dict[Path, Output] = {}
    for text in paths or ():
        path = Path(text)
        if path in checked:
            raise UsageError(f"-o {text} is given twice")
        checked[path] = _folder(path, forms) if text.endswith(("/", os.sep)) else _check_output(path, forms)
        if path.exists() and any(os.path.exists(capture) and path.samefile(capture) for capture in captures):
            raise UsageError(f"-o {text} would overwrite an input capture")
    return list(checked.values())


_TABLES = (
    "captures", "records", "packets", "oddities", "segments", "pieces", "bursts", "messages", "faults", "icmp_errors",
    "exchanges", "connections", "findings",
)  # fmt: skip
"""The names of all tables, equal to the keys of report.data.table_folder.TABLES.

That module is not imported here, because it loads Polars, whose threads would start before privileges are dropped.
"""

TABLE_FILES = tuple(f"{name}.{form}" for name in _TABLES for form in ("parquet", "arrow"))
"""The names of the files in a folder of tables."""


def _folder(path: Path, forms: Collection[str]) -> Output:
    """Return a folder as an output for tables. Raise UsageError if the folder cannot be written, or `forms` lacks "tables"."""
    if "tables" not in forms:
        raise UsageError(f"-o {path}{os.sep}: {_known_suffixes(forms)}")
    if path.exists() and not path.is_dir():
        raise UsageError(f"-o {path}{os.sep}: not a folder")
    # if the folder exists, check that files can be created in it, and that those of an earlier run can be replaced
    old = [path / name for name in TABLE_FILES if (path / name).exists()]
    for file in [path / TABLE_FILES[0], *old] if path.exists() else [path]:
        writable(path, file)
    return Output(path, "tables")


def _check_output(path: Path, forms: Collection[str]) -> Output:
    if path.is_dir():
        into = f"; a folder for tables must be given with {os.sep} at its end" if "tables" in forms else ""
        raise UsageError(f"-o {path}: is a directory{into}")
    form = next((name for name in forms if FORMATS[name].suffix and FORMATS[name].suffix == path.suffix.lower()), None)
    if form is None:
        raise UsageError(f"-o {path}: {_known_suffixes(forms)}")
    return Output(writable(path), form)


def _known_suffixes(forms: Collection[str]) -> str:
    suffixes = ", ".join(form.suffix for form in FORMATS.values() if form.name in forms and form.suffix not in ("", "/"))
    tables = f"; a folder for tables ends with {os.sep}" if "tables" in forms else ""
    return f"the suffix names the format and must be one of {suffixes}{tables}"


def writable(path: Path, file: Path | None = None) -> Path:
    """Return `path`; raise UsageError if this output cannot be written.

    `file`: if the output is a folder, the path of a file in the folder, which is checked instead.
    """
    try:
        with resolve(file or path) as target:
            target.check_writable()
    except OSError as error:
        existing = f"{file.name}: " if file is not None and file.exists() else ""
        raise UsageError(f"-o {path}: {existing}{reason(error, str(file or path))}") from None
    return path


def write_each(files: Iterable[Output], write: Callable[[Output], None]) -> bool:
    """Call `write` for every file and report failures. Return whether all files were written."""
    complete = True
    for file in files:
        try:
            write(file)
        except OSError as error:
            complete = False
            print_message(f"{file.option}: {reason(error, str(file.path))}")
        except UsageError as error:
            complete = False
            print_message(f"{file.option}: {error}")
    return complete


def write_file(output: Output, write: Write, access: FileAccess = DIRECT) -> None:
    """Write one output given with -o. Raise OSError if that fails."""
    with access.replacing(output.path) as out:
        write(output.format, out, Terminal(width=PIPE_WIDTH, unicode=True))


def write_stdout(output: str, write: Write, color: Color, *, pages: bool = True) -> None:
    """Write a report to standard output. `output`: its format.

    With `pages`, the report goes through a pager if standard output is a terminal.
    """
    paper = stdout_paper(color)
    sys.stdout.flush()
    with paged() if pages else standard_output() as out:
        write(output, out, paper)
        out.flush()


def stdout_paper(color: Color) -> Terminal:
    """Return the properties of standard output: its width, and whether it shows color, Unicode and hyperlinks."""
    return _paper(color, sys.stdout)


def stderr_paper(color: Color) -> Terminal:
    """Return the properties of standard error: its width, and whether it shows color, Unicode and hyperlinks."""
    return _paper(color, sys.stderr)


def _paper(color: Color, stream: TextIO) -> Terminal:
    encoding = (stream.encoding or "ascii").lower()
    width = shutil.get_terminal_size(fallback=(PIPE_WIDTH, 24)).columns
    colored = _uses_color(color, stream)
    return Terminal(width=width, color=colored, unicode=encoding.startswith("utf"), links=colored and _uses_links(stream))


def _uses_color(color: Color, stream: TextIO) -> bool:
    if color != Color.auto:
        return color == Color.always
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and shows_escapes(stream)


def _uses_links(stream: TextIO) -> bool:
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb":
        return False
    from wiredoctor.cli.hyperlinks import has_hyperlinks

    return has_hyperlinks()


def spool() -> BinaryIO:
    """Open a temporary file for rows that must be sorted before they are written."""
    import tempfile

    with tempfile.TemporaryFile(buffering=0) as file:
        return cast("BinaryIO", io.BufferedRandom(_Temporary(os.dup(file.fileno()), "rb+")))


class _Temporary(io.FileIO):
    """A temporary file. The error for a full disk names the folder of this file, because the report may be on another disk."""

    def write(self, data: Any, /) -> int:
        import tempfile

        with room_needed(tempfile.gettempdir()):
            return super().write(data)
