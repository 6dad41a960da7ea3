"""The Containerfile keeps in step with the project; that it builds and runs is tried by hand, as it needs a base image."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from packaging.specifiers import SpecifierSet

from tests.interfaces.test_capabilities import USER
from wiredoctor.interfaces.capabilities import NET_RAW, Granted, effective

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def instructions() -> list[tuple[str, str]]:
    """(instruction, its words) in order; lines that go on are joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Containerfile").read_text("utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(name, " ".join(words.split())) for line in lines if line.strip() for name, _, words in [line.partition(" ")]]


LINES = instructions()


def of(name: str) -> list[str]:
    """What stands behind an instruction, each time."""
    return [words for instruction, words in LINES if instruction == name]


def copied() -> list[str]:
    """What the build gets of the project."""
    return [source for words in of("COPY") if not words.startswith("--from") for source in words.split()[:-1]]


def test_only_instructions_are_left() -> None:
    known = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in LINES} <= known


def test_its_python_is_allowed_and_the_same_in_both_stages() -> None:
    """A virtual environment is copied from one to the other. The names are short ones: the registry is the user's choice."""
    images = {words.partition(" ")[0] for words in of("FROM")}
    (image,) = images
    version = re.fullmatch(r"python:(\d+\.\d+)-slim", image)
    assert version
    assert version[1] in SpecifierSet(PROJECT["project"]["requires-python"])


def test_what_it_copies_is_there_and_is_not_ignored() -> None:
    ignored = (ROOT / ".containerignore").read_text("utf-8").splitlines()
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied())
    assert [source for source in copied() if not (ROOT / source).exists()] == []


def test_what_the_wheel_is_made_of_is_copied() -> None:
    project, hatch = PROJECT["project"], PROJECT["tool"]["hatch"]
    needed = {"pyproject.toml", project["readme"], *project["license-files"], *hatch["build"]["targets"]["wheel"]["packages"]}
    assert needed == set(copied())
    assert Path(hatch["version"]["path"]).parts[0] in needed


def test_what_the_stages_hand_over() -> None:
    (handed,) = [words.split() for words in of("COPY") if words.startswith("--from")]
    assert f"AS {handed[0].removeprefix('--from=')}" in of("FROM")[0]
    assert handed[1] == handed[2]  # a virtual environment stays where it was made
    assert f"python -m venv --without-pip {handed[1]} " in of("RUN")[0]
    assert f"PATH={handed[2]}/bin:$PATH" in of("ENV")[0]


def test_the_core_is_compiled_where_the_compiler_stays_behind() -> None:
    build, last = of("RUN")
    assert "install --yes --no-install-recommends gcc libc6-dev " in build
    assert "WIREDOCTOR_CORE=compiled pip wheel " in build  # or the build fails
    assert "gcc" not in last


def test_it_ends_as_a_user_without_rights() -> None:
    last = [name for name, _ in LINES]
    assert last[last.index("USER") :] == ["USER", "ENTRYPOINT", "CMD"]
    (user,) = of("USER")
    number = re.fullmatch(r"(\d+):\1", user)
    assert number, "Kubernetes (runAsNonRoot) cannot tell whether a name is root"
    assert int(number[1]) >= 1000
    assert f"useradd --uid {number[1]} " in of("RUN")[1]


def test_it_runs_the_command() -> None:
    assert json.loads(of("ENTRYPOINT")[0]) == [*PROJECT["project"]["scripts"]]
    assert json.loads(of("CMD")[0]) == ["--help"]


def test_its_capabilities_are_no_more_than_containers_have() -> None:
    """More of them, and tcpdump would not start in a container that adds NET_RAW alone."""
    (given,) = re.findall(r"setcap (\S+) ", of("RUN")[1])
    assert given == "cap_net_raw+ep"
    container = USER._replace(bounding=NET_RAW)
    assert effective(container, Granted(NET_RAW, 0, forced=True), becomes_root=False) == NET_RAW


def test_nothing_is_written_where_nothing_can_be() -> None:
    """A read-only file system: bytecode is there already, and temporary files go where one mounts room for them."""
    assert "PYTHONDONTWRITEBYTECODE=1" in of("ENV")[0]
    assert "TMPDIR=/tmp" in of("ENV")[0]
    assert "compileall -q --invalidation-mode unchecked-hash" in of("RUN")[0]
