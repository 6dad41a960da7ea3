"""Test whether capturing is permitted: the reported permissions agree with the kernel's behavior."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interfaces.namespaces import AS_NOBODY, NOBODY, PRIVILEGED, call_with_less
from tests.support.needs import skip_without
from wiredoctor.interfaces import Permission, permission
from wiredoctor.interfaces.backends import find
from wiredoctor.interfaces.capabilities import NET_RAW, read_privileges

pytestmark = pytest.mark.skipif(not PRIVILEGED, reason="takes away privileges, for which it needs them")

ADMIN = 1 << 12
NO_NEW_PRIVILEGES = "import ctypes; ctypes.CDLL(None).prctl(38, 1, 0, 0, 0); "
WITHOUT_NET_RAW = "import ctypes; ctypes.CDLL(None).prctl(24, 13, 0, 0, 0); "

WORDS = ["-Z", "root", "-i", "lo", "-c", "1", "-w", "/dev/null", "less", "1"]
"""Of tcpdump; no packet is that short."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder that every user may enter, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="wiredoctor-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def program(folder: Path, name: str = "dumpcap", mode: int = 0o755, capabilities: int = 0, group: int = 0) -> Path:
    """Create a program that does nothing, with capabilities that every user who executes it gets at once."""
    source = shutil.which("true") or "/bin/true"
    made = folder / name
    shutil.copyfile(source, made)
    os.chown(made, 0, group)
    made.chmod(mode)
    if capabilities:
        try:
            os.setxattr(made, "security.capability", struct.pack("<5I", 0x02000001, capabilities, capabilities, 0, 0))
        except OSError as error:
            pytest.skip(f"no file capabilities: {error}")
    return made


def asked(drop: str, folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the complete result, and the backends by name."""
    answer = call_with_less(drop, path=str(folder))
    return answer, {backend["name"]: backend for backend in answer["backends"]}


def starts(program: Path, drop: str) -> bool:
    """Return whether the kernel executes the program after `drop`."""
    code = f"import os\n{drop}\nos.execv({str(program)!r}, [{str(program)!r}])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def packet_sockets() -> bool:
    """Return whether raw sockets are available; some containers permit none to any user."""
    code = "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_root_may_where_the_kernel_lets_it() -> None:
    said: Permission = permission()
    assert said.permitted == packet_sockets()
    assert bool(said.advice) != said.permitted
    assert [backend.name for backend in said.backends] == ["dumpcap", "tcpdump", "raw"]


def test_nobody_is_told_what_to_do(folder: Path) -> None:
    path = program(folder)
    answer, backends = asked(AS_NOBODY, folder)
    assert not answer["permitted"]
    assert (backends["dumpcap"]["path"], backends["dumpcap"]["reason"]) == (str(path), "lacks the capability CAP_NET_RAW")
    assert f"sudo setcap cap_net_raw,cap_net_admin+eip {path}" in answer["advice"][0]
    assert answer["advice"][1].endswith("sudo wiredoctor live ...")
    assert [one["capture"] for one in answer["interfaces"]] == [[]] * len(answer["interfaces"])


def test_a_program_with_capabilities_may(folder: Path) -> None:
    if not read_privileges().bounding & NET_RAW:
        pytest.skip("CAP_NET_RAW is withheld here")
    program(folder, capabilities=NET_RAW)
    answer, backends = asked(AS_NOBODY, folder)
    assert (answer["permitted"], answer["advice"]) == (True, [])
    assert [name for name, backend in backends.items() if backend["permitted"]] == ["dumpcap"]
    assert answer["interfaces"][-1]["capture"] == ["dumpcap"]


def test_of_a_group_only_its_members_may(folder: Path) -> None:
    path = program(folder, mode=0o750, capabilities=NET_RAW, group=1)
    answer, backends = asked(AS_NOBODY, folder)
    assert not answer["permitted"]
    assert backends["dumpcap"]["reason"] == "may not be executed by this user"
    assert answer["advice"][0].startswith(f"Join the group that may run {path}: sudo usermod -a -G daemon $USER")
    if read_privileges().bounding & NET_RAW:
        member = f"os.setgroups([1]); os.setgid({NOBODY}); os.setuid({NOBODY})"
        assert asked(member, folder)[0]["permitted"]


def test_capabilities_of_files_do_not_count_without_new_privileges(folder: Path) -> None:
    path = program(folder, capabilities=NET_RAW)
    answer, backends = asked(NO_NEW_PRIVILEGES + AS_NOBODY, folder)
    assert not answer["permitted"]
    assert backends["dumpcap"]["reason"] == "lacks the capability CAP_NET_RAW"
    assert "no_new_privs" in answer["advice"][0]
    assert starts(path, NO_NEW_PRIVILEGES + AS_NOBODY)


def test_what_a_container_withholds(folder: Path) -> None:
    """A program that requires more capabilities than its container has does not start: a trap of setcap in an image."""
    if not read_privileges().bounding & ADMIN:
        pytest.skip("CAP_NET_ADMIN is withheld here")
    path = program(folder, capabilities=NET_RAW | ADMIN)
    answer, backends = asked(WITHOUT_NET_RAW + AS_NOBODY, folder)
    assert not answer["permitted"]
    assert backends["dumpcap"]["reason"] == "cannot start: it requires capabilities that are not available here"
    assert "--cap-add=NET_RAW" in answer["advice"][0]
    assert not starts(path, WITHOUT_NET_RAW + AS_NOBODY)
    assert starts(path, AS_NOBODY)


def test_root_without_the_capability(folder: Path) -> None:
    answer, backends = asked(WITHOUT_NET_RAW, folder)
    assert not answer["permitted"]
    assert "--cap-add=NET_RAW" in answer["advice"][0]
    assert backends["tcpdump"]["permitted"] is False


def test_root_that_cannot_change_its_groups(folder: Path) -> None:
    """tcpdump drops privileges when root executes it; the others do not."""
    program(folder)
    program(folder, "tcpdump")
    answer, backends = asked("import ctypes; ctypes.CDLL(None).prctl(24, 6, 0, 0, 0); ", folder)
    if not packet_sockets():
        pytest.skip("no packet sockets")
    assert answer["permitted"]
    assert backends["tcpdump"]["reason"] == "cannot start: as root it changes its groups, which this system refuses"
    assert [name for name, backend in backends.items() if backend["permitted"]] == ["dumpcap", "raw"]


def test_what_tcpdump_does_that_cannot_change_its_groups() -> None:
    skip_without("tcpdump")
    if not packet_sockets():
        pytest.skip("no packet sockets")
    tcpdump = shutil.which("tcpdump")
    code = f"import ctypes, os; ctypes.CDLL(None).prctl(24, 6, 0, 0, 0); os.execv({tcpdump!r}, ['tcpdump', *{WORDS!r}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 1
    assert "Couldn't change to 'root'" in done.stderr


def test_a_rootless_container_in_the_network_of_its_host() -> None:
    skip_without("unshare")
    if subprocess.run(["unshare", "-Ur", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces")
    words = ["unshare", "-Ur", sys.executable, "-m", "wiredoctor", "interfaces"]
    text = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "80"}).stdout
    assert "Capturing is not permitted." in text
    assert "raw sockets  no   is refused packet sockets\n" in text
    assert "rootless" in text


def test_what_may_be_executed_is_found_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
        program(folder / name, "wd-program", mode=0o644 if name == "a" else 0o755)
    monkeypatch.setattr("wiredoctor.interfaces.backends.is_privileged", lambda: False)
    monkeypatch.setenv("PATH", f"{folder}/a::{folder}/b:{folder}/none")
    assert find("wd-program") == f"{folder}/b/wd-program"
    (folder / "b" / "wd-program").unlink()
    assert find("wd-program") == f"{folder}/a/wd-program"
    assert find("wd-other-program") is None


@pytest.mark.parametrize("path", [".", "", "bin", "{folder}/bin:.:bin:"])
@pytest.mark.parametrize("privileged", [True, False])
def test_no_program_of_the_current_folder_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch, path: str, privileged: bool
) -> None:
    """Root does not search PATH for programs either, because another user may have set it."""
    (folder / "bin").mkdir()
    program(folder, "wd-program")
    program(folder / "bin", "wd-program")
    monkeypatch.chdir(folder)
    monkeypatch.setattr("wiredoctor.interfaces.backends.is_privileged", lambda: privileged)
    monkeypatch.setenv("PATH", path.format(folder=folder))
    expected = f"{folder}/bin/wd-program" if "{folder}" in path and not privileged else None
    assert find("wd-program") == expected
