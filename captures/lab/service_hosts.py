"""Join network namespaces by a bridge, and create sockets inside each of them from one process.

Nothing leaves the machine: the namespaces reach only each other.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from network import OFFLOADS, Host

if TYPE_CHECKING:
    from collections.abc import Generator

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def address_of(number: int) -> str:
    """Return the address of the host with this number."""
    return f"10.70.1.{10 + number}"


def socket_in(name: str) -> socket.socket:
    """Return a TCP socket in the namespace `name`. Raise OSError if the kernel refuses."""
    with Path("/proc/thread-self/ns/net").open("rb") as own, Path(f"/run/netns/{name}").open("rb") as other:
        _enter(other.fileno())
        try:
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        finally:
            _enter(own.fileno())
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def bridged(count: int) -> Generator[tuple[Host, list[Host]]]:
    """Yield the host of the bridge `br0`, on which every packet can be captured once, and `count` hosts joined to it."""
    tag = f"wd{os.getpid()}"
    bridge = Host(f"{tag}b", "", "", "")
    hosts = [Host(f"{tag}n{number}", address_of(number), "", f"02:00:0a:46:01:{10 + number:02x}") for number in range(count)]
    with ExitStack() as cleanup:
        for host in (bridge, *hosts):
            _ip("netns", "add", host.name)
            cleanup.callback(_ip, "netns", "del", host.name)
            cleanup.callback(host.stop_all)
            host.run("ip", "link", "set", "lo", "up")
        bridge.run("ip", "link", "add", "br0", "type", "bridge")
        bridge.run("ip", "link", "set", "br0", "up")
        for number, host in enumerate(hosts):
            _join(bridge, host, f"p{number}")
        yield bridge, hosts


def _join(bridge: Host, host: Host, port: str) -> None:
    _ip("link", "add", "eth0", "netns", host.name, "type", "veth", "peer", "name", port, "netns", bridge.name)
    bridge.run("ip", "link", "set", port, "master", "br0", "up")
    host.run("ip", "link", "set", "eth0", "address", host.mac)
    for feature in OFFLOADS:
        host.run("ethtool", "-K", "eth0", feature, "off", check=False)
        bridge.run("ethtool", "-K", port, feature, "off", check=False)
    host.run("ip", "address", "add", f"{host.address}/24", "dev", "eth0")
    host.run("ip", "link", "set", "eth0", "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=20)
