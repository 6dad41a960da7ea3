"""Long transfers over long ways, and what limits them: windows, buffers, programs."""

from __future__ import annotations

from impairments import Conditions
from network import Host

FAR = Conditions(delay=0.075)
CUT = ("-s", "96")
"""Bytes of each packet: the heads of HTTP are cut, and tshark reads their sizes from the lengths on the wire."""

ENOUGH = ("-s", "400")
NOT_LOST = {
    "capture-loss": "nothing was lost, only cut",
    "tinygrams": "segments are long",
    "zero-window-stall": "windows stay open",
}


def sysctl(host: Host, setting: str) -> None:
    """Set a value of the kernel in the namespace of a host."""
    host.run("sysctl", "-qw", setting)
