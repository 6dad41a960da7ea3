"""The interfaces of namespaces made for it, and answers of the kernel that were never given."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.interfaces.namespaces import call, ip, namespace
from tests.support.needs import skip_without
from wiredoctor.capture.link_types import _NAMES as CAPTURED  # pyright: ignore[reportPrivateUsage]
from wiredoctor.interfaces import ANY, interfaces
from wiredoctor.interfaces.listing import COOKED, link_type
from wiredoctor.interfaces.netlink import attributes, messages

linux = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")

KINDS = (
    "link set lo up",
    "link add wd0 type veth peer name wd1",
    "link set wd0 up",
    "link set wd1 up",
    "addr add 10.77.0.1/24 dev wd0",
    "addr add 10.77.9.1/32 peer 10.77.9.2 dev wd0",
    "addr add fd77::1/64 dev wd0 nodad",
    "link set dev wd0 alias uplink",
    "link add wd2 type veth peer name wd3",
    "link set wd2 up",
    "tuntap add wdtun mode tun",
    "tuntap add wdtap mode tap",
    "link set wdtun up",
    "link add wdbr type bridge",
)


@linux
def test_interfaces_of_all_kinds() -> None:
    with namespace("wd-kinds", *KINDS) as inside:
        found = {one["name"]: one for one in json.loads(call("--format", "json", inside=inside))["interfaces"]}
    what = {name: (one["kind"], one["link_type"], one["state"]) for name, one in found.items()}
    assert what == {
        "lo": (None, "ETHERNET", "up"),
        "wd0": ("veth", "ETHERNET", "up"),
        "wd1": ("veth", "ETHERNET", "up"),
        "wd2": ("veth", "ETHERNET", "no carrier"),
        "wd3": ("veth", "ETHERNET", "down"),
        "wdtun": ("tun", "RAW", "no carrier"),
        "wdtap": ("tun", "ETHERNET", "down"),
        "wdbr": ("bridge", "ETHERNET", "down"),
        "any": (None, "LINUX_SLL", "up"),
    }
    assert found["wd0"]["addresses"][:3] == ["10.77.0.1/24", "10.77.9.1/32", "fd77::1/64"]
    assert found["lo"]["addresses"] == ["127.0.0.1/8", "::1/128"]
    assert found["wd0"]["description"] == "uplink"
    assert (found["wd3"]["capture"], found[ANY]["ifindex"]) == ([], None)


@linux
def test_a_vlan() -> None:
    vlan = "link add link wd0 name wd0.7 type vlan id 7"
    with namespace("wd-vlan", "link add wd0 type veth peer name wd1", vlan, "link set wd0.7 up") as inside:
        found = {one["name"]: one for one in json.loads(call("--format", "json", inside=inside))["interfaces"]}
    assert (found["wd0.7"]["kind"], found["wd0.7"]["link_type"]) == ("vlan", "ETHERNET")


@linux
def test_interfaces_that_only_netlink_shows() -> None:
    """A namespace that was entered without its /sys: what is listed is where captures would be made."""
    with namespace("wd-entered", "link add wd0 type veth peer name wd1") as inside:
        enter = ["nsenter", f"--net=/run/netns/{inside}", sys.executable, "-m", "wiredoctor", "interfaces", "--format", "json"]
        skip_without("nsenter")
        done = subprocess.run(enter, capture_output=True, check=True)
    assert {one["name"] for one in json.loads(done.stdout)["interfaces"]} == {"lo", "wd0", "wd1", "any"}


@linux
@pytest.mark.parametrize("program", ["dumpcap", "tcpdump"])
def test_link_types_are_those_that_are_captured(program: str) -> None:
    skip_without(program)
    with namespace("wd-link-types", *KINDS, "link set wdtap up", "link set wdbr up") as inside:
        listed = json.loads(call("--format", "json", inside=inside))["interfaces"]
        said = {one["name"]: _first_link_type(program, one["name"], inside) for one in listed if one["state"] != "down"}
    names = {"EN10MB": "ETHERNET"}
    wanted = {one["name"]: one["link_type"] for one in listed if one["state"] != "down"}
    assert {name: names.get(word, word) for name, word in said.items()} == wanted


def _first_link_type(program: str, interface: str, inside: str) -> str:
    done = subprocess.run(
        ["ip", "netns", "exec", inside, program, "-L", "-i", interface], capture_output=True, text=True, check=True, timeout=20
    )
    first = next(line for line in (done.stdout + done.stderr).splitlines() if line.startswith("  "))
    return first.split()[0]


@linux
def test_names_and_aliases_are_not_trusted() -> None:
    with namespace("wd-names") as inside:
        made = ip("-n", inside, "link", "add", "a\x1b[31mb", "type", "veth", "peer", "name", "\xe9\u202e")
        if made.returncode:
            pytest.skip(made.stderr.strip())
        ip("-n", inside, "link", "set", "dev", "a\x1b[31mb", "alias", 'x\x1b]0;y\x07\n"')
        for form in ("text", "json"):
            text = call("--format", form, inside=inside)
            assert text.replace("\n", "").isprintable()
            assert text.isascii()
            found = json.loads(text)["interfaces"] if form == "json" else []
            names = {one["name"]: one["description"] for one in found}
            assert form == "text" or names[r"a\x1b[31mb"] == r'x\x1b]0;y\x07\x0a"'
            assert r"\xc3\xa9\xe2\x80\xae" in (names or text)


@linux
def test_the_list_is_that_of_the_system() -> None:
    assert [(one.ifindex, one.name) for one in interfaces()[:-1]] == sorted(socket.if_nameindex())


def test_all_link_types_have_the_names_of_reports() -> None:
    named = {link_type(hardware) for hardware in range(1 << 16)}
    assert link_type(0) == COOKED
    assert named - set(CAPTURED.values()) == {"EXP_ETHERNET", "AX25_KISS", "PRONET", "CHAOS"}


@given(st.binary(max_size=200))
def test_answers_may_be_anything(raw: bytes) -> None:
    assert sum(len(body) for _, body in messages(raw)) <= len(raw)
    assert sum(len(value) for _, value in attributes(raw)) <= len(raw)
