"""Record one conversation at round trips of 20 and 120 ms, at the client, in the middle and at the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from impairments import Conditions
from scenario import Lab, recording

EVERYWHERE = ("client", "middle", "server")

Far = Callable[[Lab, float], None]
"""A function that makes traffic over a wire with the given round trip in seconds."""


def everywhere(*, title: str, rtts: tuple[int, ...] = (20, 120), **papers: Any) -> Callable[[Far], Far]:
    """Register a function that makes traffic once per round trip (ms). The name of each capture ends with the round trip."""

    def register(traffic: Far) -> Far:
        for rtt in rtts:
            recording(title=f"{title}, over a round trip of {rtt} ms", at=EVERYWHERE, wire=Conditions(rtt / 2_000), **papers)(
                _named(traffic, rtt)
            )
        return traffic

    return register


def _named(traffic: Far, rtt: int) -> Callable[[Lab], None]:
    def far(lab: Lab) -> None:
        traffic(lab, rtt / 1_000)

    far.__name__ = f"{traffic.__name__}_rtt_{rtt}"
    far.__doc__ = f"{traffic.__doc__}\n{rtt // 2} ms in each direction; captured at the client, half-way and at the server."
    return far
