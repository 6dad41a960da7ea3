"""Where reports go: standard output and the files of -o. All is checked before the analysis begins."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, NamedTuple, TextIO, cast

from wiredoctor.cli.exit_codes import UsageError, reason, say
from wiredoctor.cli.options import SUFFIXES, Color, Format
from wiredoctor.replacement import make_folder, remove, replacing, resolve, room_needed
from wiredoctor.report.terminal.terminal import Paper

PIPE_WIDTH = 100
"""Columns of text where no terminal tells its width and COLUMNS is not set."""

Write = Callable[[Format, BinaryIO, Paper], None]
"""Writes a report in a format; text as UTF-8 or whatever the paper allows."""


class Output(NamedTuple):
    """A file of -o and the format that its suffix names."""

    path: Path
    format: Format

    @property
    def option(self) -> str:
        """The option that names the file."""
        return f"-o {self.path}{os.sep if self.format == Format.tables else ''}"


class FileAccess(NamedTuple):
    """The functions that touch the file system; `live` passes others, which ask the process that has the rights for it."""

    replacing: Callable[[Path], AbstractContextManager[BinaryIO]] = replacing
    remove: Callable[[Path], None] = remove
    make_folder: Callable[[Path], None] = make_folder


DIRECT = FileAccess()
"""The access of this process itself."""


def outputs(paths: list[str] | None, captures: Sequence[str], forms: Collection[Format] = tuple(Format)) -> list[Output]:
    """The files of -o; raises UsageError where one could not be written in the end, or is one of the captures.

    `forms`: the formats that there are of what is to be written.
    """
    checked: dict[Path, Output] = {}
    for text in paths or ():
        path = Path(text)
        if path in checked:
            raise UsageError(f"-o {text} is given twice")
        checked[path] = _folder(path, forms) if text.endswith(("/", os.sep)) else _checked(path, forms)
        if path.exists() and any(os.path.exists(capture) and path.samefile(capture) for capture in captures):
            raise UsageError(f"-o {text} would overwrite a capture that is to be read")
    return list(checked.values())


def _folder(path: Path, forms: Collection[Format]) -> Output:
    """A folder for tables: it is made where there is none."""
    if Format.tables not in forms:
        raise UsageError(f"-o {path}{os.sep}: {_known(forms)}")
    if path.exists() and not path.is_dir():
        raise UsageError(f"-o {path}{os.sep}: is no folder")
    # where the folder exists, files are made in it
    return Output(writable(path, path / "captures.parquet" if path.exists() else path), Format.tables)


def _checked(path: Path, forms: Collection[Format]) -> Output:
    if path.is_dir():
        into = f"; tables go into one that is written with {os.sep} at its end" if Format.tables in forms else ""
        raise UsageError(f"-o {path}: is a directory{into}")
    form = SUFFIXES.get(path.suffix.lower())
    if form is None or form not in forms:
        raise UsageError(f"-o {path}: {_known(forms)}")
    return Output(writable(path), form)


def _known(forms: Collection[Format]) -> str:
    suffixes = ", ".join(suffix for suffix, form in SUFFIXES.items() if form in forms)
    tables = f"; a folder for tables ends with {os.sep}" if Format.tables in forms else ""
    return f"the suffix names the format and must be one of {suffixes}{tables}"


def writable(path: Path, file: Path | None = None) -> Path:
    """Return the path; raise UsageError if no file can be written there, or `file` cannot."""
    try:
        with resolve(file or path) as target:
            target.check_writable()
    except OSError as error:
        raise UsageError(f"-o {path}: {reason(error, str(file or path))}") from None
    return path


def write_each(files: Iterable[Output], write: Callable[[Output], None]) -> bool:
    """Call `write` for every file and report those that fail. Return whether none did."""
    complete = True
    for file in files:
        try:
            write(file)
        except OSError as error:
            complete = False
            say(f"{file.option}: {reason(error, str(file.path))}")
        except UsageError as error:
            complete = False
            say(f"{file.option}: {error}")
    return complete


def write_file(output: Output, write: Write, access: FileAccess = DIRECT) -> None:
    """Writes a file of -o."""
    with access.replacing(output.path) as out:
        write(output.format, out, Paper(width=PIPE_WIDTH, unicode=True))


def write_stdout(output: Format, write: Write, color: Color) -> None:
    """Writes standard output."""
    paper = stdout_paper(color)
    sys.stdout.flush()
    write(output, sys.stdout.buffer, paper)
    sys.stdout.buffer.flush()


def stdout_paper(color: Color) -> Paper:
    """What standard output is like."""
    encoding = (sys.stdout.encoding or "ascii").lower()
    width = shutil.get_terminal_size(fallback=(PIPE_WIDTH, 24)).columns
    return Paper(width=width, color=_colored(color, sys.stdout), unicode=encoding.startswith("utf"))


def _colored(color: Color, stream: TextIO) -> bool:
    if color != Color.auto:
        return color == Color.always
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Text:
    """A text stream over a binary one, in the encoding of the paper; what it cannot say is escaped."""

    def __init__(self, out: BinaryIO, paper: Paper) -> None:
        encoding = "utf-8" if paper.unicode else "ascii"
        self.stream = io.TextIOWrapper(out, encoding=encoding, errors="backslashreplace", newline="", write_through=False)

    def __enter__(self) -> TextIO:
        return self.stream

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.stream.flush()
        self.stream.detach()


def spool() -> BinaryIO:
    """A temporary file for rows that wait to be sorted."""
    import tempfile

    with tempfile.TemporaryFile(buffering=0) as file:
        return cast("BinaryIO", io.BufferedRandom(_Temporary(os.dup(file.fileno()), "rb+")))


class _Temporary(io.FileIO):
    """A temporary file that says so when its disk is full: the disk of the report may have room."""

    def write(self, data: object, /) -> int:
        import tempfile

        with room_needed(tempfile.gettempdir()):
            return super().write(data)  # type: ignore[arg-type]
