"""A signal ends the program with 128 plus its number and one line, whatever it is doing: loading, working, or leaving."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import INTERRUPTIBLE, FakeAnalysis, Run
from tests.cli.test_process import clean_environment
from tests.support.needs import skip_without
from tests.support.recordings import find_recording
from tests.support.sweeps import SLOW, sweep
from wiredoctor.cli import exit_codes, signals

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")

CAPTURE = find_recording("unauthorized-closes.pcap")

SCRIPT = [sys.executable, "-c", "import sys; from wiredoctor.cli import main; sys.exit(main())"]
MODULE = [sys.executable, "-m", "wiredoctor"]

ALL = pytest.mark.parametrize("name", sweep(["SIGINT", "SIGTERM", "SIGHUP"], "SIGTERM".__eq__))


SLOW_TO_ARM = """
arm = signal.setitimer
def armed_slowly(*words):
    signal.setitimer = arm
    arm(*words)
    time.sleep(0.05)
signal.setitimer = armed_slowly
"""
"""The first timer expires before the function that sets it has returned, as on a busy machine."""


def start(words: list[str], *, session: bool = False, stdin: int | None = None, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*INTERRUPTIBLE, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment(**more),
        start_new_session=session, stdin=stdin,
    )  # fmt: skip


def stub(folder: Path, module: str, name: str, ending: str = "") -> str:
    """A module in the place of another one, which sends a signal to its process while it is loaded."""
    send = f"os.kill(os.getpid(), signal.{name}); time.sleep(60)"
    text = f"try: {send}\nexcept BaseException: {ending}\n" if ending else f"{send}\n"
    (folder / f"{module}.py").write_text(f"import os, signal, time\n{text}")
    return str(folder)


def ended(process: subprocess.Popen[str], name: str) -> None:
    output, errors = process.communicate(timeout=30)
    said = f"wiredoctor: interrupted by {name}\n"
    assert (process.returncode, output, errors) == (128 + signal.Signals[name], "", said)


@ALL
@pytest.mark.parametrize("program", [SCRIPT, MODULE], ids=["script", "module"])
@pytest.mark.parametrize("module", ["typer", "polars"])
def test_while_modules_are_loaded(module: str, program: list[str], name: str, tmp_path: Path) -> None:
    ended(start([*program, "analyze", str(CAPTURE)], PYTHONPATH=path_with(stub(tmp_path, module, name))), name)


@pytest.mark.parametrize("program", [SCRIPT, MODULE], ids=["script", "module"])
def test_before_the_handler_is_set(program: list[str], tmp_path: Path) -> None:
    """Python's own would raise an exception, which ends in a traceback."""
    (tmp_path / "signal.py").write_text("import _signal, os, time\nos.kill(os.getpid(), _signal.SIGINT)\ntime.sleep(60)\n")
    launcher = f"import os, sys; os.environ['PYTHONPATH'] = {path_with(str(tmp_path))!r}; os.execv(sys.argv[1], sys.argv[1:])"
    ended(start([sys.executable, "-c", launcher, *program, "--version"]), "SIGINT")


def path_with(folder: str) -> str:
    """A module in the folder comes before the real one."""
    return os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])


@ALL
@pytest.mark.parametrize("ending", sweep(["raise ImportError('broken')", "pass", "raise SystemError"], "pass".__eq__))
def test_a_module_that_makes_something_else_of_it(ending: str, name: str, tmp_path: Path) -> None:
    """As extension modules do: the exception of a signal becomes another one, or none."""
    folder = stub(tmp_path, "numpy", name, ending)
    ended(start([*SCRIPT, "analyze", str(CAPTURE)], PYTHONPATH=path_with(folder)), name)


@ALL
@pytest.mark.parametrize("busy", ["", SLOW_TO_ARM], ids=["idle", "busy"])
def test_an_exception_that_python_had_to_swallow(name: str, busy: str, tmp_path: Path) -> None:
    """In a finalizer it would be a traceback on standard error, and nothing more; also if the next one comes too soon."""
    (tmp_path / "numpy.py").write_text(
        f"import os, signal, time\n{busy}"
        "class Dying:\n"
        f"    def __del__(self): os.kill(os.getpid(), signal.{name}); time.sleep(0.01)\n"
        "dying = Dying()\ndel dying\ntime.sleep(60)\n"
    )
    ended(start([*SCRIPT, "analyze", str(CAPTURE)], PYTHONPATH=path_with(str(tmp_path))), name)


def test_a_later_signal_ends_a_process_that_has_lost_the_first(tmp_path: Path) -> None:
    swallowing = "pass\nprint('lost', file=sys.stderr, flush=True)\nwhile True: time.sleep(0.1)"
    (tmp_path / "numpy.py").write_text(
        f"import os, signal, sys, time\ntry: os.kill(os.getpid(), signal.SIGTERM)\nexcept BaseException: {swallowing}\n"
    )
    process = start([*SCRIPT, "analyze", str(CAPTURE)], PYTHONPATH=path_with(str(tmp_path)))
    assert process.stderr is not None
    assert process.stderr.readline() == "lost\n"
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None, "what is cleaned up is not broken off"
    time.sleep(max(0.0, signals.PATIENCE + 0.1 - (time.monotonic() - begun)))
    process.send_signal(signal.SIGINT)
    ended(process, "SIGTERM")


@pytest.mark.parametrize("program", [SCRIPT, MODULE], ids=["script", "module"])
def test_what_is_ignored_stays_ignored(program: list[str], tmp_path: Path) -> None:
    """nohup"""
    (tmp_path / "typing_extensions.py").write_text("")
    (tmp_path / "polars.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGHUP)\nos._exit(7)\n")
    words = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *program, "analyze", str(CAPTURE)]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env=clean_environment(PYTHONPATH=path_with(str(tmp_path)))
    )
    assert (done.returncode, done.stderr) == (7, "")


def test_a_closed_standard_error_gets_no_line(tmp_path: Path) -> None:
    """What is opened next may have its number."""
    folder = stub(tmp_path, "typer", "SIGTERM")
    script = 'exec 2>&-; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *SCRIPT, "analyze"],
        capture_output=True, text=True, check=False, env=clean_environment(PYTHONPATH=path_with(folder)),
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")


@SLOW
@pytest.mark.skipif(sys.platform != "linux", reason="captures are shared by processes on Linux only")
def test_all_processes_of_a_terminal_get_the_signal_and_one_reports_it(large: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = start([*MODULE, "analyze", str(large), "--jobs", "3"], session=True, TMPDIR=str(temporary))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while len(children.read_text().split()) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    *before, last = err.splitlines()
    assert (process.returncode, last) == (130, "wiredoctor: interrupted by SIGINT")
    # the signal may come before any packet was read
    assert len(before) == bool(out)
    for text in (*before, *([f"wiredoctor: {out}"] if out else [])):
        assert " ".join(text.split()).startswith("wiredoctor: Reading was stopped: only the first ")
    assert list(temporary.iterdir()) == []


@SLOW
@ALL
def test_a_server_whose_standard_input_stays_open(name: str, tmp_path: Path) -> None:
    """A thread reads it, for which Python waits at its end."""
    skip_without("package mcp")
    process = start([*MODULE, "mcp", "--folder", str(tmp_path)], stdin=subprocess.PIPE)
    about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": about}
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    assert "serverInfo" in process.stdout.readline()
    process.send_signal(signal.Signals[name])
    process.wait(30)
    ended(process, name)


LEAVING = "import os, signal\nfrom wiredoctor.cli import main\ntry: main()\nfinally: os.kill(os.getpid(), signal.SIGTERM)\n"


@pytest.mark.parametrize(
    "words", sweep([["analyze", str(CAPTURE), "-q"], ["--version"], ["analyze", "no-such-file"]], lambda words: "-q" in words)
)
def test_while_it_leaves(words: list[str]) -> None:
    process = start([sys.executable, "-c", LEAVING, *words])
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 143
    assert errors.splitlines()[-1] == "wiredoctor: interrupted by SIGTERM"
    assert "Traceback" not in errors


@SLOW
def test_nothing_is_left_to_be_removed_once_a_command_has_ended(tmp_path: Path) -> None:
    """From then on a signal ends the process at once."""
    code = LEAVING.replace("os.kill(os.getpid(), signal.SIGTERM)", "os._exit(9)")
    for words in (
        ["analyze", "-f", "json", "--full"],
        ["show", "--finding", "1"],
        ["extract", "--finding", "1", "-o", "x.pcapng"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, words[0], str(CAPTURE), *words[1:]],
            capture_output=True, check=False, cwd=tmp_path, env=clean_environment(TMPDIR=str(tmp_path)),
        )  # fmt: skip
        assert done.returncode == 9
        assert [path.name for path in tmp_path.iterdir() if path.name != "x.pcapng"] == []


def test_a_signal_while_an_error_is_reported(run: Run, analysis: FakeAnalysis, monkeypatch: pytest.MonkeyPatch) -> None:
    def say(_: str) -> None:
        raise signals.Interrupted(signal.SIGTERM)

    analysis.raises = ZeroDivisionError()
    monkeypatch.setattr(exit_codes, "print_message", say)
    assert run("analyze", "trace.pcap").exit_code == 143


def test_a_signal_that_comes_twice_at_once_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As timeout(1) sends it: to the process, and to its group. A second one later ends the command."""
    now = 100.0
    monkeypatch.setattr(signals.time, "monotonic", lambda: now)
    before = signal.signal(signal.SIGINT, signals.stop)
    try:
        with signals.StopReading() as stop:
            signals.begin()
            assert not stop()
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)
                assert stop()
            now += 1
            with pytest.raises(signals.Interrupted):
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
        signals.begin()
        signals.finish()
