"""What only a real process shows: imports, pipes, signals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(("command", "usage"), [("analyze", "CAPTURE..."), ("connections", "CAPTURE..."), ("explain", "RULE...")])
def test_help_names_arguments_as_other_programs_do(command: str, usage: str) -> None:
    done = subprocess.run(
        [*PYTHON, command, "--help"], capture_output=True, text=True, env=clean_environment(COLUMNS="80"), check=False
    )
    assert f"Usage: wiredoctor {command} [OPTIONS] {usage}\n" in done.stdout
    assert f"\nArguments:\n  {usage}  " in done.stdout


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


def test_a_closed_pipe_ends_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([*PYTHON, "schema"], stdout=writer, stderr=subprocess.PIPE, env=clean_environment(), check=False)
    finally:
        os.close(writer)
    assert done.stderr == b""
    assert done.returncode in (0, 141)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_said_in_a_line() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*PYTHON, "schema"], stdout=full, stderr=subprocess.PIPE, text=True, env=clean_environment(), check=False
        )
    assert (done.returncode, done.stderr) == (2, "wiredoctor: No space left on device\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding_will_do(encoding: str) -> None:
    done = subprocess.run(
        [*PYTHON, "explain", "nagle-delayed-ack"],
        capture_output=True,
        env=clean_environment(PYTHONIOENCODING=encoding),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode(encoding)
