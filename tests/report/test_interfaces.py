"""Test the list of interfaces: widths, untrusted text, and JSON."""

from __future__ import annotations

import io
import json

import pytest

from wiredoctor.interfaces import Backend, Interface, Permission
from wiredoctor.report.terminal.interfaces import write, write_json
from wiredoctor.report.terminal.terminal import Terminal

ADDRESSES = ("192.0.2.10/24", "198.51.100.200/25", "2001:db8::1/64", "2001:db8:1234:5678:9abc:def0:1234:5678/64", "fe80::1/64")
LO = Interface("lo", 1, None, "ETHERNET", "up", 65536, ("127.0.0.1/8", "::1/128"), "")
UPLINK = Interface("enp195s0f1np1", 2, "openvswitch", "ETHERNET", "no carrier", 1500, ADDRESSES, "to rack 7")
DOWN = Interface("wg0", 3, "wireguard", "RAW", "down", None, (), "")
ANY = Interface("any", None, None, "LINUX_SLL", "up", None, (), "all interfaces that are up")
YES = Permission((Backend("dumpcap", "/usr/bin/dumpcap", True, "as root"), Backend("raw", "/p", True, "as root")), ())
NO = Permission(
    (Backend("dumpcap", None, False, "is not installed"), Backend("raw", "/p", False, "lacks the capability CAP_NET_RAW")),
    ("Install dumpcap, and join the group that may run it, which is what most people want and a long sentence.", "Or sudo."),
)


def text(*interfaces: Interface, permission: Permission = YES, paper: Terminal | None = None) -> str:
    out = io.StringIO()
    write(interfaces, permission, out, paper or Terminal(width=80))
    return out.getvalue()


def test_a_line_for_each() -> None:
    assert text(LO, DOWN, ANY).splitlines() == [
        "interface kind      link type state addresses",
        "lo        -         ETHERNET  up    127.0.0.1/8, ::1/128",
        "wg0       wireguard RAW       down",
        "any       -         LINUX_SLL up    all interfaces that are up",
        "",
        "Capturing is permitted on interfaces that are up.",
        "  dumpcap      yes  as root (/usr/bin/dumpcap)",
        "  raw sockets  yes  as root",
    ]


def test_many_addresses_take_several_lines() -> None:
    lines = text(LO, UPLINK).splitlines()
    first, *rest, description = lines[2 : lines.index("") - 1]
    assert all(len(line) <= 80 for line in lines)
    assert first.startswith("enp195s0f1np1 ETHERNET  no carrier 192.0.2.10/24, ")
    assert "No room for the column kind: set COLUMNS or use --format json." in lines
    assert "enp195s0f1np1 openvswitch ETHERNET  no carrier 192" in text(LO, UPLINK, paper=Terminal(width=100))
    assert all(line.startswith(" " * first.index("192")) for line in (*rest, description))
    listed = " ".join(line[first.index("192") :] for line in (first, *rest))
    assert listed == ", ".join(ADDRESSES)
    assert description.strip() == "to rack 7"


def test_what_to_do_is_said_below() -> None:
    said = text(LO, permission=NO)
    assert "Capturing is not permitted.\n  dumpcap      no   is not installed\n" in said
    assert said.endswith("what most people\n  want and a long sentence.\nOr sudo.\n")
    assert all(len(line) <= 80 for line in said.splitlines())


def test_colour_changes_no_column() -> None:
    import re

    painted = text(LO, UPLINK, DOWN, paper=Terminal(width=80, color=True))
    assert "\x1b[32mup" in painted
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == text(LO, UPLINK, DOWN)


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "\xc3\xa9", "[bold]x[/]", "a\nb", '"\\'])
def test_names_give_no_orders(name: str) -> None:
    odd = LO._replace(name=name, description=name, kind=name)
    shown = text(odd)
    assert shown.isascii()
    assert shown.replace("\n", "").isprintable()
    assert len(shown.splitlines()) == len(text(LO).splitlines()) + 1
    out = io.StringIO()
    write_json([odd], YES, out, "1")
    (row,) = json.loads(out.getvalue())["interfaces"]
    assert row["name"] == row["description"] == row["kind"]
    assert row["name"].isprintable()


def test_json() -> None:
    out = io.StringIO()
    write_json([LO, DOWN], YES, out, "1.2")
    whole = json.loads(out.getvalue())
    assert list(whole) == ["schema_version", "tool", "permitted", "advice", "backends", "interfaces"]
    assert (whole["schema_version"], whole["tool"], whole["permitted"]) == (1, {"name": "wiredoctor", "version": "1.2"}, True)
    assert whole["backends"][0] == {"name": "dumpcap", "path": "/usr/bin/dumpcap", "permitted": True, "reason": "as root"}
    assert whole["interfaces"][0] == {
        "name": "lo", "ifindex": 1, "kind": None, "link_type": "ETHERNET", "state": "up", "mtu": 65536,
        "addresses": ["127.0.0.1/8", "::1/128"], "description": "", "capture": ["dumpcap", "raw"],
    }  # fmt: skip
    assert whole["interfaces"][1]["capture"] == []
    assert sum(line.startswith('  {"name"') for line in out.getvalue().splitlines()) == 4
