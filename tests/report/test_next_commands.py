"""A shell turns the names in suggested commands into the names of the files, whatever their characters."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.support.needs import needs
from wiredoctor.report.commands import shell_word

NAMES = [
    b"trace.pcap",
    b"two words.pcap",
    b"-dash.pcap",
    b"it's.pcap",
    b"back\\slash.pcap",
    b"new\nline\\.pcap",
    b"\x1b[31m'red'.pcap",
    b"latin \xe9\xff.pcap",
    "right to left \u202e.pcap".encode(),
]


@needs("bash")
@pytest.mark.parametrize("name", NAMES)
def test_a_shell_reads_the_name_of_the_file(name: bytes) -> None:
    for file in (os.fsdecode(name), name.decode(errors="backslashreplace")):
        word = shell_word(file)
        assert word.isprintable()
        said = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
        assert said.stdout == (b"./" + name if name.startswith(b"-") else name)
