"""Test properties that only a real process has: imports, pipes, signals."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.cli.conftest import INTERRUPTIBLE
from tests.support.command_line import run_command
from tests.support.recordings import PATHS, find_recording
from tests.support.sweeps import SLOW, in_turn, sweep
from wiredoctor.cli.app import HELP, OPTIONS, application, with_command

PYTHON = [sys.executable, "-m", "wiredoctor"]


def clean_environment(**more: str) -> dict[str, str]:
    unwanted = ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "PYTHONIOENCODING")
    return {**{k: v for k, v in os.environ.items() if k not in unwanted}, **more}


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["analyze", "--help"], ["explain", "-h"], []])
def test_help_is_quick(words: list[str]) -> None:
    """Neither Polars nor NumPy nor scapy nor Rich's console is needed to say how one is used."""
    code = (
        "import sys\nfrom wiredoctor.cli import main\n"
        "try:\n    main()\nfinally:\n    print(sorted({m.partition('.')[0] for m in sys.modules} "
        "& {'polars', 'numpy', 'scapy', 'dpkt'}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=clean_environment(), check=False
    )
    assert done.stderr.strip().splitlines()[-1] == "[]"
    assert "wiredoctor" in done.stdout + done.stderr


MODEST = {"_RJEM_MALLOC_CONF": "narenas:1,", "OPENBLAS_NUM_THREADS": "1", "POLARS_ENGINE_AFFINITY": "in-memory"}


@pytest.mark.parametrize(("name", "given"), in_turn(MODEST, [None, "7"]))
def test_libraries_are_told_to_be_modest_unless_the_user_says_otherwise(name: str, given: str | None) -> None:
    code = f"import os\nfrom wiredoctor.cli import main\ntry:\n    main()\nfinally:\n    print(os.environ['{name}'])"
    environment = {k: v for k, v in clean_environment().items() if k != name} | ({name: given} if given else {})
    done = subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, text=True, env=environment, check=True)
    told = done.stdout.splitlines()[-1]
    assert told == given if given else told.startswith(MODEST[name])


@pytest.mark.parametrize("form", sweep(["json", "jsonl"], "json".__eq__))
def test_machines_need_no_typesetting(form: str, tmp_path: Path) -> None:
    """Rich takes longer to load than a small capture to analyse; so does a configuration that is not there."""
    capture = find_recording("unauthorized-closes.pcap")
    code = (
        "import sys\nfrom wiredoctor.cli import main\n"
        "try:\n    main()\nfinally:\n    print(sorted({m.partition('.')[0] for m in sys.modules} "
        "& {'rich', 'tomllib', 'jinja2', 'scapy'}), file=sys.stderr)"
    )
    words = [sys.executable, "-c", code, "analyze", str(capture), "--format", form]
    done = subprocess.run(words, capture_output=True, text=True, env=clean_environment(), cwd=tmp_path, check=False)
    assert done.stderr.strip() == "[]"
    assert "premature-close" in done.stdout


@pytest.mark.parametrize(
    ("command", "usage"), [("analyze", "CAPTURE..."), ("connections", "CAPTURE..."), ("explain", "[RULE-OR-WORDS...]")]
)
def test_help_names_arguments_as_other_programs_do(command: str, usage: str) -> None:
    done = subprocess.run(
        [*PYTHON, command, "--help"], capture_output=True, text=True, env=clean_environment(COLUMNS="80"), check=False
    )
    assert f"Usage: wiredoctor {command} [OPTIONS] {usage}\n" in done.stdout
    assert f"\nArguments:\n  {usage}  " in done.stdout


@pytest.mark.parametrize("columns", sweep([60, 120, 180], (120).__eq__))
def test_help_is_as_wide_as_the_terminal(columns: int) -> None:
    environment = clean_environment(COLUMNS=str(columns))
    done = subprocess.run([*PYTHON, "analyze", "--help"], capture_output=True, text=True, env=environment, check=True)
    options = done.stdout.partition("Options:")[2].partition("Examples:")[0]
    assert columns - 12 < max(map(len, options.splitlines())) <= columns


@SLOW
def test_a_capture_alone_is_analyzed(tmp_path: Path) -> None:
    capture = find_recording("server-head-body-split.pcap")

    words = [str(capture), "-q", "--fail-on", "warning"]
    alone = subprocess.run([*PYTHON, *words], capture_output=True, text=True, env=clean_environment(), check=False)
    done = run_command("analyze", *words)
    assert (alone.returncode, alone.stdout, alone.stderr) == (1, done.stdout, done.stderr)
    (tmp_path / "rules").write_bytes(capture.read_bytes())
    done = subprocess.run([*PYTHON, "rules"], capture_output=True, text=True, env=clean_environment(), cwd=tmp_path, check=False)
    assert "keep-alive-race" in done.stdout  # a command stays one


@pytest.mark.parametrize(
    ("words", "errors"),
    sweep(
        [
            (["analyse"], "Error: No such command 'analyse'. Did you mean 'analyze'?\n"),
            (["trace.pcap"], "wiredoctor: trace.pcap: no such file\n"),
            (["no/captures", "-q"], "wiredoctor: no/captures: no such file\n"),
            (["zzz"], "Error: No such command 'zzz'.\n"),
        ],
        lambda case: case[0] == ["analyse"],
    ),
)
def test_what_is_neither_a_capture_nor_a_command(words: list[str], errors: str) -> None:
    done = subprocess.run([*PYTHON, *words], capture_output=True, text=True, env=clean_environment(), check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(errors)
    assert done.stderr == errors or "No such command" in errors


@pytest.mark.parametrize(
    ("option", "similar"),
    [
        ("--duratoin", ["--duration"]),
        ("--prot", ["--port"]),
        ("--quite", ["--quiet"]),
        ("--out", ["--output"]),
        ("--zzz", []),
        ("--json", []),
    ],
)
def test_only_similar_options_are_suggested(option: str, similar: list[str]) -> None:
    done = CliRunner().invoke(application(["live"]), ["live", option])
    words = done.stderr.split("Error: ")[1].split()
    assert (done.exit_code, [word.strip("(),?") for word in words if word.startswith("--")]) == (2, [option, *similar])


def _with_command(line: str) -> str:
    return " ".join(with_command(line.split()))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-q trace.pcap", "analyze -q trace.pcap"),
        ("-vq trace.pcap", "analyze -vq trace.pcap"),
        ("--format json --utc trace.pcap", "analyze --format json --utc trace.pcap"),
        ("--format=json trace.pcap", "analyze --format=json trace.pcap"),
        ("-f json -", "analyze -f json -"),
        ("--host rules trace.pcap", "analyze --host rules trace.pcap"),  # a value is no command
        ("--no-pager -q trace.pcap", "--no-pager analyze -q trace.pcap"),
        ("-q --no-pager trace.pcap", "--no-pager analyze -q trace.pcap"),
        ("exchanges trace.pcap --no-pager", "--no-pager exchanges trace.pcap"),
        ("-q exchanges trace.pcap", "exchanges -q trace.pcap"),
        ("--sort size exchanges trace.pcap", "exchanges --sort size trace.pcap"),
        ("-w out.pcapng live", "live -w out.pcapng"),  # the file belongs to an option that analyze does not have
        ("--quite trace.pcap", "analyze --quite trace.pcap"),
        ("-q anaylze trace.pcap", "anaylze -q anaylze trace.pcap"),  # the first word gets the suggestion
        ("-q", "analyze -q"),  # which misses a CAPTURE
        ("--verison", "--verison"),
        ("--version", "--version"),
        ("-h", "-h"),
        ("-h -q", "-h"),
        ("-q -h", "-h"),
        ("-q --help", "--help"),
        ("--color never --version -v", "--version"),
        ("--no-pager --quiet --version", "--no-pager --version"),
        ("--no-pager -qh", "--no-pager -h"),
        ("-q -h trace.pcap", "analyze -q -h trace.pcap"),
        ("-q exchanges -h", "exchanges -q -h"),
        ("--install-completion", "--install-completion"),
        ("--show-completion bash", "--show-completion bash"),
        ("run -- git --no-pager log", "run -- git --no-pager log"),
        ("run git --no-pager log", "run git --no-pager log"),
    ],
)
def test_options_may_come_first(line: str, expected: str) -> None:
    assert _with_command(line) == expected


def test_the_options_of_the_program_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option that OPTIONS lacks would be taken for one of `analyze`."""
    monkeypatch.setenv("SHELL", "/bin/bash")
    program = typer.main.get_command(application())
    parameters = program.get_params(typer.Context(program, help_option_names=HELP))
    assert {name for one in parameters for name in one.opts} == OPTIONS


@SLOW
def test_options_before_a_capture_give_the_same_report() -> None:
    capture = str(find_recording("server-head-body-split.pcap"))
    options = ["-q", "--utc", "--format", "json"]
    first = subprocess.run([*PYTHON, *options, capture], capture_output=True, text=True, env=clean_environment(), check=True)
    assert first.stdout == run_command("analyze", capture, *options).stdout
    assert json.loads(first.stdout)["findings"]
    done = subprocess.run(
        [*PYTHON, "-q", "anaylze", capture], capture_output=True, text=True, env=clean_environment(), check=False
    )
    assert done.returncode == 2
    assert done.stderr.endswith("Error: No such command 'anaylze'. Did you mean 'analyze'?\n")


def test_a_command_needs_no_pydantic() -> None:
    """It would cost 50 ms of CPU."""
    code = (
        "import sys\nfrom wiredoctor.cli import main\n"
        "try:\n    main()\nfinally:\n    print('pydantic' in sys.modules, file=sys.stderr)"
    )
    words = ["analyze", "no-such-file.pcap", "--format", "json", "--port", "80"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=clean_environment(), check=False
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["wiredoctor: no-such-file.pcap: no such file", "False"]


@pytest.mark.skipif(os.name != "posix", reason="needs O_NONBLOCK")
@pytest.mark.parametrize(
    ("words", "stream"),
    sweep(
        [(["--version"], "stdout"), (["schema"], "stdout"), (["zzz"], "stderr")],
        lambda case: case[0] in (["--version"], ["zzz"]),
    ),
)
def test_a_full_pipe_that_does_not_block_loses_nothing(words: list[str], stream: str) -> None:
    """Another program that shares the pipe may have set O_NONBLOCK."""
    whole = getattr(subprocess.run([*PYTHON, *words], capture_output=True, env=clean_environment(), check=False), stream)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(writer, b"." * 4096)
    with subprocess.Popen([*PYTHON, *words], env=clean_environment(), **{stream: writer}) as process:
        os.close(writer)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        with open(reader, "rb") as file:
            assert file.read()[filled:] == whole


def test_a_line_is_written_at_once_if_nothing_may_be_buffered() -> None:
    """The program still runs when its line is read."""
    code = "import sys; from wiredoctor.cli import exit_codes; exit_codes.open_streams(); print('said'); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], env=clean_environment(PYTHONUNBUFFERED="1"), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdin is not None
        ready, _, _ = select.select([process.stdout], [], [], 20)
        process.stdin.close()
        assert ready
        assert process.stdout.readline() == "said\n"


def test_a_closed_pipe_ends_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([*PYTHON, "schema"], stdout=writer, stderr=subprocess.PIPE, env=clean_environment(), check=False)
    finally:
        os.close(writer)
    assert done.stderr == b""
    assert done.returncode in (0, 141)


@SLOW
@pytest.mark.parametrize(
    "words",
    sweep(
        [
            *(["analyze", "{}", "-q"], ["rules"], ["show", "{}", "--finding", "1"], ["explain", "late-flush"], ["schema"]),
            *(["--help"], ["--version"], ["live", "--help"], ["exchanges", "{}"], ["analyze", "{}", "--format", "json"]),
        ],
        lambda words: words[0] in ("show", "--version"),
    ),
)
def test_a_closed_pipe_is_never_the_code_of_fail_on(words: list[str]) -> None:
    """Rich and Typer end a program whose pipe is closed with 1."""
    capture = find_recording("server-head-body-split.pcap")
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*PYTHON, *(word.format(capture) for word in words)], stdout=writer, stderr=subprocess.PIPE, check=False,
            env=clean_environment(),
        )  # fmt: skip
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_said_in_a_line() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*PYTHON, "schema"], stdout=full, stderr=subprocess.PIPE, text=True, env=clean_environment(), check=False
        )
    assert (done.returncode, done.stderr) == (2, "wiredoctor: standard output: no space left on device\n")


@SLOW
@pytest.mark.skipif(sys.platform == "win32", reason="no limits of resources")
@pytest.mark.parametrize("jobs", sweep(["1", "2"], "2".__eq__))
def test_no_room_for_temporary_files_is_said_in_a_line(jobs: str) -> None:
    """No file may be longer than 4,000 bytes, and tables are written from the first row on.

    Nor may bytecode: Python would leave what there was room for, and the next process would fail to import it.
    """
    capture = PATHS[0]
    code = (
        "import resource, sys\nfrom wiredoctor import limits, pipeline\nfrom wiredoctor.cli import main\n"
        "import dataclasses\nlimits.BYTES_HELD = dataclasses.replace(limits.BYTES_HELD, value=1)\npipeline.SHARED_FROM = 1\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "analyze", "--jobs", jobs, capture],
        capture_output=True, text=True, env=clean_environment(PYTHONDONTWRITEBYTECODE="1"), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("wiredoctor: no room for temporary files (set TMPDIR to use another folder): ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("encoding", sweep(["ascii", "latin-1", "utf-8"], "ascii".__eq__))
def test_any_encoding_will_do(encoding: str) -> None:
    done = subprocess.run(
        [*PYTHON, "explain", "nagle-delayed-ack"],
        capture_output=True,
        env=clean_environment(PYTHONIOENCODING=encoding),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode(encoding)


@pytest.mark.parametrize("words", sweep([["--help"], ["--version"], ["analyze", "--help"]], ["--version"].__ne__))
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_help_on_a_full_disk_is_no_traceback(words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*PYTHON, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "wiredoctor: standard output: no space left on device\n")


@SLOW
@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_closed_streams() -> None:
    """What there is no place for is not said; nothing else changes."""
    script = f'"{sys.executable}" -m wiredoctor rules >&- && "{sys.executable}" -m wiredoctor analyze - <&-'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=clean_environment(), check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "wiredoctor: -: standard input is closed\n")


@SLOW
@pytest.mark.skipif(sys.platform != "linux", reason="captures are shared by processes on Linux only")
@pytest.mark.parametrize(
    ("ends", "codes"),
    [("SIGINT", {130}), ("SIGINT SIGINT", {130}), ("SIGTERM", {143}), ("SIGHUP SIGTERM", {129, 143}), ("SIGKILL", {-9})],
)
def test_a_signal_leaves_nothing_behind(ends: str, codes: set[int], large: Path, tmp_path: Path) -> None:
    """No process, no folder, and one line; also where the process has no time to clean up, for its workers have.

    Of two signals at once either may come first: each is delivered to whichever thread is free.
    """
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [*INTERRUPTIBLE, *PYTHON, "analyze", str(large), "--jobs", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(TMPDIR=str(temporary)),
    )
    worker = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not any(temporary.iterdir()) or not worker.read_text():  # whoever is left removes the folder
        assert process.poll() is None
        time.sleep(0.01)
    for name in ends.split():
        process.send_signal(signal.Signals[name])
    output, errors = process.communicate(timeout=60)  # the worker holds both pipes
    assert process.returncode in codes
    stopped = b"Reading was stopped: "
    if output or errors.startswith(b"wiredoctor: " + stopped):  # what was read until the only signal, or one of two that merged
        assert ends.startswith("SIGINT")
        assert output.startswith(stopped)
        errors = errors[errors.index(b"\n") + 1 :]
    by = {130: b"SIGINT", 143: b"SIGTERM", 129: b"SIGHUP"}
    assert errors == (b"wiredoctor: interrupted by " + by[process.returncode] + b"\n" if process.returncode > 0 else b"")
    # a worker that was through before its parent was killed has left what it found, and nobody is there to remove it
    through = ends == "SIGKILL" and any(file.stat().st_size for file in temporary.rglob("share-1-*"))
    assert through or list(temporary.iterdir()) == []
