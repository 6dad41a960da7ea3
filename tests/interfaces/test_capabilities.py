"""Test the rules of capabilities(7) case by case, and the extended attribute with a file's capabilities."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interfaces.namespaces import NOBODY, PRIVILEGED
from tests.support.needs import skip_without
from wiredoctor.interfaces.capabilities import (
    NET_RAW,
    NOTHING,
    Granted,
    Privileges,
    after_exec,
    effective,
    parse_capabilities,
    read_privileges,
)

ADMIN = 1 << 12
ALL = (1 << 41) - 1
USER = Privileges(uid=1000, permitted=0, effective=0, inheritable=0, bounding=ALL, ambient=0, no_new_privileges=False)
ROOT = USER._replace(uid=0, permitted=ALL, effective=ALL)
SERVICE = USER._replace(permitted=NET_RAW, inheritable=NET_RAW, ambient=NET_RAW, no_new_privileges=True)
DUMPCAP = Granted(NET_RAW | ADMIN, NET_RAW | ADMIN, forced=True)


@pytest.mark.parametrize(
    ("who", "file", "becomes_root", "gets"),
    [
        (USER, NOTHING, False, 0),
        (USER, DUMPCAP, False, NET_RAW | ADMIN),
        (USER, NOTHING, True, ALL),
        (ROOT, NOTHING, True, ALL),
        (ROOT._replace(bounding=ALL & ~NET_RAW, effective=0), NOTHING, True, ALL & ~NET_RAW),
        (USER._replace(bounding=ALL & ~ADMIN), DUMPCAP, False, None),
        (USER._replace(bounding=ALL & ~ADMIN), Granted(NET_RAW, 0, forced=True), False, NET_RAW),
        (USER._replace(bounding=ALL & ~ADMIN), DUMPCAP._replace(forced=False), False, 0),
        (USER._replace(effective=NET_RAW), NOTHING, False, 0),
        (USER._replace(effective=NET_RAW, inheritable=NET_RAW, ambient=NET_RAW), NOTHING, False, NET_RAW),
        (USER._replace(ambient=NET_RAW, inheritable=NET_RAW), Granted(ADMIN, 0, forced=True), False, ADMIN),
        (USER._replace(inheritable=NET_RAW), Granted(0, NET_RAW, forced=True), False, NET_RAW),
        (USER._replace(bounding=0, inheritable=NET_RAW), Granted(0, NET_RAW, forced=True), False, NET_RAW),
        (USER._replace(no_new_privileges=True), DUMPCAP, False, 0),
        (SERVICE, NOTHING, False, NET_RAW),
        (SERVICE, DUMPCAP, False, NET_RAW),
        (SERVICE, Granted(ADMIN, 0, forced=True), False, 0),
        (SERVICE._replace(bounding=NET_RAW), DUMPCAP, False, None),
        (ROOT._replace(no_new_privileges=True, permitted=NET_RAW), NOTHING, True, NET_RAW),
        (ROOT._replace(permitted=NET_RAW, bounding=NET_RAW), DUMPCAP, True, None),
    ],
    ids=[
        "a user", "a program with capabilities", "a program with the setuid bit", "root", "root in a container without it",
        "a program that asks for more than the container has", "one that asks for less", "one that would ask by itself",
        "what a process has is not handed on", "unless it is ambient", "which a program with capabilities of its own loses",
        "what both hand on", "whatever the bound is", "no new privileges", "a service that hands its own on",
        "to a program that would ask for more", "or for another one", "that is withheld here", "root without new privileges",
        "what even root cannot start",
    ],
)  # fmt: skip
def test_what_a_program_gets(who: Privileges, file: Granted, becomes_root: bool, gets: int | None) -> None:
    assert effective(who, file, becomes_root=becomes_root) == gets


def test_the_status_of_a_process() -> None:
    lines = [
        "Name:\tpython", "Uid:\t1000\t1001\t1000\t1000", "CapInh:\t0000000000000001", "CapPrm:\t0000000000003000",
        "CapEff:\t0000000000002000", "CapBnd:\t000001ffffffffff", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1",
    ]  # fmt: skip
    assert read_privileges("\n".join(lines)) == Privileges(1001, NET_RAW | ADMIN, NET_RAW, 1, ALL, 0, no_new_privileges=True)
    assert not read_privileges("\n".join(lines[:-1])).no_new_privileges  # before Linux 4.10 it was not said


@pytest.mark.parametrize(
    ("raw", "granted"),
    [
        (struct.pack("<5I", 0x02000001, NET_RAW | ADMIN, NET_RAW, 0, 0), Granted(NET_RAW | ADMIN, NET_RAW, forced=True)),
        (struct.pack("<6I", 0x03000000, NET_RAW, 0, 1, 2, 1000), Granted(NET_RAW | 1 << 32, 2 << 32, forced=False)),
        (struct.pack("<3I", 0x01000001, NET_RAW, 0), Granted(NET_RAW, 0, forced=True)),
        (b"\1", NOTHING),
        (b"", NOTHING),
    ],
)
def test_the_capabilities_of_a_file(raw: bytes, granted: Granted) -> None:
    assert parse_capabilities(raw) == granted


PROGRAMS = {
    "plain": NOTHING,
    "raw": Granted(NET_RAW, 0, forced=True),
    "both": DUMPCAP,
    "asking": DUMPCAP._replace(forced=False),
    "admin": Granted(ADMIN, 0, forced=True),
    "inheriting": Granted(0, NET_RAW, forced=True),
    "setuid": NOTHING,
}

AS_USER = f"--reuid {NOBODY} --regid {NOBODY} --clear-groups"

PROCESSES = [
    "--bounding-set +all",
    "--bounding-set -net_raw",
    "--bounding-set -net_admin",
    AS_USER,
    f"{AS_USER} --no-new-privs",
    f"{AS_USER} --bounding-set -net_admin",
    f"{AS_USER} --inh-caps +net_raw --ambient-caps +net_raw",
    f"{AS_USER} --inh-caps +net_raw --ambient-caps +net_raw --no-new-privs",
    f"{AS_USER} --inh-caps +net_raw --ambient-caps +net_raw --bounding-set -net_admin --no-new-privs",
]


@pytest.fixture(scope="module")
def programs() -> Iterator[Path]:
    """Copies of cat, each with capabilities of its own, in a folder that everybody may enter."""
    if not PRIVILEGED:
        pytest.skip("needs root")
    skip_without("setpriv")
    folder = Path(tempfile.mkdtemp(prefix="wiredoctor-test-"))
    try:
        folder.chmod(0o755)
        for name, file in PROGRAMS.items():
            shutil.copyfile(shutil.which("cat") or "/bin/cat", folder / name)
            (folder / name).chmod(0o4755 if name == "setuid" else 0o755)
            if file != NOTHING:
                raw = struct.pack("<5I", 0x02000000 | file.forced, file.permitted, file.inheritable, 0, 0)
                os.setxattr(folder / name, "security.capability", raw)
        yield folder
    except OSError as error:
        pytest.skip(f"no file capabilities: {error}")
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("process", PROCESSES)
def test_the_kernel_says_the_same(process: str, programs: Path) -> None:
    """Programs print their own status: what they were given is what was foretold."""
    before = ["setpriv", *process.split()]
    made = subprocess.run([*before, "cat", "/proc/self/status"], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(made.stderr.strip())
    foretold, given = dict[str, int | None](), dict[str, int | None]()
    for name in PROGRAMS:
        foretold[name] = after_exec(read_privileges(made.stdout), str(programs / name))
        done = subprocess.run([*before, "env", programs / name, "/proc/self/status"], capture_output=True, text=True, check=False)
        given[name] = None if done.returncode else read_privileges(done.stdout).effective
    assert foretold == given
