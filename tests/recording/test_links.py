"""Test interfaces that go down, vanish and return, and the messages if nobody may capture."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.recording.namespaces import Cable, ip
from tests.recording.running import Recording, kinds, needs_root, nobody, packets, places
from tests.support.needs import needs
from tests.support.sweeps import SLOW

pytestmark = needs_root

BACKENDS = ["raw", *(pytest.param(name, marks=needs(name)) for name in ("dumpcap", "tcpdump"))]


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_interface_that_goes_and_comes_back(backend: str, cable: Cable, tmp_path: Path) -> None:
    cable.sink()
    file = tmp_path / "a.pcapng"
    asked = {"interfaces": ["wire1"], "file": str(file), "backend": backend}
    with Recording(cable.inside(cable.there), **asked) as recording:
        recording.until("file")
        ip("-n", cable.there, "link", "set", "wire1", "down")
        assert recording.until("interface") == {"event": "interface", "name": "wire1", "state": "down"}
        ip("-n", cable.there, "link", "set", "wire1", "up")
        assert recording.until("interface")["state"] == "up"
        cable.flood(0.2).wait()
        recording.until("progress", packets=50)
        cable.unplug()
        assert recording.until("interface", state="gone")
        before = recording.until("progress")["packets"]  # with the statistics of the first section
        cable.plug()
        recording.until("interface", state="up")
        until_sections(file, 2)
        cable.flood(0.2).wait()
        recording.until("progress", packets=before + 50)
        ended = recording.stop()
    assert (ended["reason"], ended["dropped"]) == ("stopped", 0)
    found = kinds(file.read_bytes())
    assert found.count(0x0A0D0D0A) >= 2
    assert found[-1] == 5


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_of_two_interfaces_goes_and_the_other_is_still_captured(backend: str, cable: Cable, tmp_path: Path) -> None:
    """Loopback and a tunnel without a header in front: each has a link type of its own."""
    ip("-n", cable.there, "tuntap", "add", "tun7", "mode", "tun")
    ip("-n", cable.there, "link", "set", "tun7", "up")
    cable.sink()
    file = tmp_path / "a.pcapng"
    asked = {"interfaces": ["tun7", "wire1"], "file": str(file), "backend": backend}
    with Recording(cable.inside(cable.there), **asked) as recording:
        assert recording.until("started")["interfaces"] == ["tun7", "wire1"]
        recording.until("progress")
        link_types = [file.read_bytes()[at + 8] for at in places(file.read_bytes(), 1)]
        assert link_types == [101, 1]
        ip("-n", cable.there, "link", "del", "tun7")
        recording.until("interface", name="tun7", state="gone")
        until_sections(file, 2)
        cable.flood(0.3).wait()
        recording.until("progress", packets=50)
        recording.stop()
    assert packets(file) >= 50


def until_sections(file: Path, count: int) -> None:
    """Waits for the capture to have begun anew."""
    end = time.monotonic() + 20
    while file.read_bytes().count(b"\n\r\r\n") < count:
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("name", ["wire10", "wire1wire1wire1wire1", "wire\udcff", "-i", "wire1/..", ""])
def test_names_that_no_interface_has(name: str, cable: Cable, tmp_path: Path) -> None:
    with Recording(cable.inside(cable.there), interfaces=["wire1", name], file=str(tmp_path / "a.pcapng")) as recording:
        assert recording.until("error")["text"] == f"no such interface: {name} (there are: lo, wire1, any)"


def test_an_interface_that_is_down_is_told(cable: Cable, tmp_path: Path) -> None:
    ip("-n", cable.there, "link", "set", "wire1", "down")
    with Recording(cable.inside(cable.there), interfaces=["wire1"], file=str(tmp_path / "a.pcapng")) as recording:
        assert recording.until("error")["text"] == "wire1 is not up: bring it up first (sudo ip link set wire1 up)"
        assert recording.process.wait(2) == 2
    assert not (tmp_path / "a.pcapng").exists()


@pytest.mark.parametrize(
    "backend",
    [
        *(None, pytest.param("raw", marks=SLOW)),
        *(pytest.param(name, marks=[needs(name), SLOW]) for name in ("dumpcap", "tcpdump")),
    ],
)
def test_without_permission_it_says_what_to_do(backend: str | None, everybodys: Path) -> None:
    try_it = [*nobody(), sys.executable, "-c", "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"]
    dumpcap = shutil.which("dumpcap")
    if subprocess.run(try_it, capture_output=True, check=False).returncode == 0 or (dumpcap and os.listxattr(dumpcap)):
        pytest.skip("everybody may capture here")
    with Recording(nobody(), interfaces=["lo"], file=str(everybodys / "a.pcapng"), backend=backend) as recording:
        text = recording.until("error")["text"]
        assert recording.process.wait(2) == 2
    assert text.startswith("no permission to capture on lo. ")
    assert "sudo" in text
    assert "wireshark" in text
    assert "\n" not in text
    assert not list(everybodys.iterdir())
