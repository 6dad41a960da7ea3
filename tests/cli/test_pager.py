"""Output on a terminal goes through a pager, as git's does; elsewhere, and with --no-pager, it does not."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.recordings import find_recording
from tests.support.sweeps import SLOW, sweep

CAPTURE = find_recording("server-head-body-split.pcap")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a terminal")


def on_a_terminal(*words: str, **more: str) -> tuple[int, str]:
    """The exit code, and what was written on the terminal."""
    import pty

    main, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", **more}
    command = [sys.executable, "-m", "wiredoctor", *words]
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment) as process:
        os.close(terminal)
        out, end = b"", time.monotonic() + 30
        while time.monotonic() < end:
            if select.select([main], [], [], 0.2)[0]:
                try:
                    out += os.read(main, 65536)
                except OSError:
                    break
        if process.poll() is None and time.monotonic() >= end:
            process.kill()
        code = process.wait(10)
    os.close(main)
    return code, out.decode("utf-8", "replace").replace("\r\n", "\n")


@pytest.mark.parametrize(
    "words", sweep([["rules"], ["explain", "keep-alive-race"], ["analyze", str(CAPTURE), "-q"]], lambda words: "-q" in words)
)
def test_a_terminal_gets_a_pager(words: list[str], tmp_path: Path) -> None:
    paged = tmp_path / "paged"
    with_pager = on_a_terminal(*words, PAGER=f"cat > '{paged}'")
    without = on_a_terminal("--no-pager", *words, PAGER=f"cat > '{paged}.not'")
    assert with_pager == (0, "")
    assert paged.read_text("utf-8") == without[1]
    assert not Path(f"{paged}.not").exists()


FAILING = ["analyze", str(CAPTURE), "-q", "--fail-on", "warning"]


def test_the_exit_code_is_that_of_the_report() -> None:
    assert on_a_terminal(*FAILING, PAGER="cat >/dev/null") == (1, "")


@SLOW
def test_without_a_pager_it_is_printed() -> None:
    code, printed = on_a_terminal("--no-pager", *FAILING[1:])
    assert code == 1
    assert on_a_terminal(*FAILING, PAGER="no-such-pager") == (1, printed)


def test_a_pager_that_is_left_early_is_no_error() -> None:
    code, printed = on_a_terminal("rules", PAGER="head -n 1")
    assert code == 0
    assert printed.count("\n") == 1


def test_a_pipe_gets_none(tmp_path: Path) -> None:
    environment = {**os.environ, "PAGER": f"touch '{tmp_path / 'paged'}'", "TERM": "xterm"}
    done = subprocess.run([sys.executable, "-m", "wiredoctor", "rules"], capture_output=True, env=environment, check=True)
    assert done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_pager_of_root_cannot_start_programs(tmp_path: Path) -> None:
    noted = tmp_path / "noted"
    assert on_a_terminal("rules", PAGER=f"echo $LESSSECURE > '{noted}'; cat > /dev/null")[0] == 0
    assert noted.read_text("utf-8").strip() == ("1" if os.geteuid() == 0 else os.environ.get("LESSSECURE", ""))


@pytest.mark.slow
def test_a_program_may_keep_the_output_as_text() -> None:
    """It replaces standard output by a stream without bytes."""
    kept = "import io, sys; from contextlib import redirect_stdout as into, suppress; from wiredoctor import cli\n"
    kept += "with into(io.StringIO()) as out, suppress(SystemExit): cli.main()\nsys.stdout.write(out.getvalue())"
    words = ["analyze", str(CAPTURE), "--format", "json"]
    done = subprocess.run([sys.executable, "-c", kept, *words], capture_output=True, check=True)
    direct = subprocess.run([sys.executable, "-m", "wiredoctor", *words], capture_output=True, check=False)
    assert done.stdout.decode() == direct.stdout.decode()
    assert '"schema_version"' in done.stdout.decode()
