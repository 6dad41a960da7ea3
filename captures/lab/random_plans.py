"""Choose at random what happens in a recording of random_faults.py, and derive what can be known at each capture point.

Expectations follow from how a fault was made and from what passes each point. A side sees what passes its end of the wire. The
middle sees what the client sees if the device with the fault is in the server's half of the wire, otherwise what the server sees.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from faults import Fault, Start
from forging import Icmp, Reset
from impairments import SIDES

Steps = list[dict[str, Any]]
Names = list[str] | None
"""The findings of which any is right, with no other beside it. None: nothing can be known about the fault."""

LIBRARIES = ("requests", "urllib3", "http.client")
BOTH, TO_SERVER, FROM_SERVER = SIDES, ("client",), ("server",)


@dataclass
class Plan:
    """A recording: the hosts, what they send, the path, the fault, and the expected findings by capture point."""

    number: int
    healthy: bool
    family: str
    client: str
    server: str
    ipv6: bool
    rtt: float
    loss: float
    hops: int
    timeout: float = 9.0
    steps: Steps = field(default_factory=Steps)
    curl: list[str] = field(default_factory=list[str])
    upload: int = 0
    faults: tuple[Fault, ...] = ()
    deaf: bool = False
    """True if a firewall on both hosts drops ICMP before the kernel reads it; captures contain it."""

    after: float | None = None
    only_from: str = ""
    cut_before_end: bool = False
    harmless: tuple[str, ...] = ()
    expected: dict[str, Names] = field(default_factory=dict[str, Names])

    @property
    def name(self) -> str:
        return f"{'twin' if self.healthy else 'fault'}-{self.number}"

    @property
    def sizes(self) -> set[int]:
        """The sizes of the pages that nginx must have."""
        paths = [step["get"] for step in self.steps if "get" in step] + [word for word in self.curl if "/size/" in word]
        return {int(path.rsplit("/", 1)[1]) for path in paths if "/size/" in path} | {40}


class Draw:
    """Draws the random values that all families need, and keeps them for the plan."""

    def __init__(self, number: int, seed: int, *, healthy: bool) -> None:
        self.number, self.healthy = number, healthy
        self.chance = random.Random(f"{seed}-{'twin' if healthy else 'fault'}-{number}")
        self.rtt = self.chance.choice([0.0, 0.002, *(self.chance.uniform(0.005, 0.15) for _ in range(6))])
        self.loss = self.chance.choice([0.0, 0.0, self.chance.uniform(0.0, 0.03)])
        self.place = self.chance.choice(SIDES)

    def plan(self, family: str, views: tuple[Names, Names] = (None, None), **more: Any) -> Plan:
        """Return a plan in which client and server have these views."""
        expected = dict(zip(SIDES, views, strict=True))
        expected["middle"] = expected["client" if self.place == "server" else "server"]
        more.setdefault("client", self.chance.choice(LIBRARIES))
        more.setdefault("server", self.chance.choice(("python", "node")))
        hops, ipv6 = self.chance.choice((0, 0, 3, 6)), self.chance.random() < 0.4
        more.setdefault("ipv6", ipv6)
        return Plan(self.number, self.healthy, family, rtt=self.rtt, loss=self.loss, hops=hops, expected=expected, **more)

    def before(self) -> Steps:
        """Return steps that no fault affects, and a pause in which a loss of their last packet is repaired."""
        sizes = [self.chance.choice((40, 900, 9_000)) for _ in range(self.chance.randint(1, 3))]
        return [{"get": f"/size/{size}"} for size in sizes] + [{"rest": self.chance.uniform(1.2, 2.5)}]

    def sides(self, *choices: tuple[str, ...]) -> tuple[str, ...]:
        return self.chance.choice(choices)

    def fault(self, start: Start, sides: tuple[str, ...] = BOTH, **more: Any) -> Fault:
        return Fault(start, sides, place=self.place, **more)


TOLD = Start(told=True)
TELL = {"tell": 0}
GONE, IDLE, MESSAGE = ["unanswered gone"], ["unanswered after-idle"], ["unanswered mid-message"]


def gone(draw: Draw) -> Plan:
    """Plan a path that fails between two exchanges, or after the handshake. The next request or its response is lost."""
    sides = draw.sides(BOTH, TO_SERVER, FROM_SERVER)
    fresh = draw.chance.random() < 0.4
    steps = [{"connect": True}, {"rest": draw.chance.uniform(0.6, 1.5)}] if fresh else draw.before()
    request = {"get": f"/size/{draw.chance.choice((40, 5_000))}"}
    more = {"client": "http.client"} if fresh else {}
    views = (GONE, GONE if sides == FROM_SERVER else None)
    return draw.plan("gone", views, steps=[*steps, TELL, request], faults=(draw.fault(TOLD, sides),), **more)


def idle_death(draw: Draw) -> Plan:
    """Plan the same as `gone`, after an idle time of five seconds or more."""
    sides = draw.sides(BOTH, TO_SERVER, FROM_SERVER)
    rest = {"rest": draw.chance.uniform(5.3, 9)}
    views = (IDLE, IDLE if sides == FROM_SERVER else None)
    steps = [*draw.before(), rest, TELL, {"get": "/size/300"}]
    return draw.plan("died at rest", views, steps=steps, faults=(draw.fault(TOLD, sides),))


def forgotten(draw: Draw) -> Plan:
    """Plan a NAT that forgets an idle connection and drops the next request. A new connection succeeds."""
    limit = draw.chance.uniform(4.9, 7)
    sides = draw.sides(BOTH, BOTH, TO_SERVER, FROM_SERVER)
    steps = [*draw.before(), {"rest": limit + draw.chance.uniform(0.5, 2)}, {"get": "/size/300"}, {"get": "/size/300"}]
    views = (IDLE, IDLE if sides == FROM_SERVER else None)
    return draw.plan("forgotten", views, steps=steps, faults=(draw.fault(Start(), sides, rested=limit),))


def flushed(draw: Draw) -> Plan:
    """Plan a NAT that restarts, and forgets a connection that was busy a moment ago. New connections succeed."""
    steps = [*draw.before(), TELL, {"get": "/size/300"}, {"get": "/size/300"}]
    return draw.plan("flushed", (GONE, None), steps=steps, faults=(draw.fault(TOLD, older=True),))


def forgotten_while_waiting(draw: Draw) -> Plan:
    """Plan a NAT that forgets a connection while a server works on its response; the response is lost."""
    limit = draw.chance.uniform(5.0, 5.6)
    think = draw.chance.randint(6_500, 7_500)
    steps = [*draw.before(), {"get": f"/slow/{think}/300"}]
    fault = draw.fault(Start(), BOTH, rested=limit)
    return draw.plan("forgotten while waiting", (GONE, IDLE), steps=steps, faults=(fault,), timeout=14.0, after=8.0)


def dies_while_thinking(draw: Draw) -> Plan:
    """Plan a path that fails while a server works on its response: the response is lost, or the ACK of the response."""
    sides = draw.sides(BOTH, TO_SERVER, FROM_SERVER)
    steps = [*draw.before(), {"tell": draw.chance.uniform(1.2, 2)}, {"get": f"/slow/{draw.chance.randint(3_000, 4_000)}/300"}]
    return draw.plan("died while thinking", (GONE, GONE), steps=steps, faults=(draw.fault(TOLD, sides),), timeout=11.0)


def mid_response(draw: Draw) -> Plan:
    """Plan a path that fails in the middle of a large response."""
    sides = draw.sides(BOTH, TO_SERVER, FROM_SERVER)
    start = Start(payload=draw.chance.randint(20_000, 90_000), side="server")
    path, fault = f"/size/{start.payload + 700_000}", draw.fault(start, sides)
    server = draw.chance.choice(("nginx", "python", "node"))
    if draw.chance.random() < 0.5:
        return draw.plan("mid-response", (MESSAGE, MESSAGE), client="curl", server=server, curl=[f"BASE{path}"], faults=(fault,))
    return draw.plan("mid-response", (MESSAGE, MESSAGE), server=server, steps=[{"get": path}], faults=(fault,))


def mid_drip(draw: Draw) -> Plan:
    """Plan a path from the server that fails at a random time in the middle of a response that is sent in pieces."""
    sides = draw.sides(BOTH, FROM_SERVER)
    steps = [*draw.before(), {"tell": draw.chance.uniform(1.2, 3.5)}, {"get": f"/drip/40/{draw.chance.randint(120, 200)}/600"}]
    return draw.plan("mid-drip", (MESSAGE, MESSAGE), steps=steps, faults=(draw.fault(TOLD, sides),))


def mid_upload(draw: Draw) -> Plan:
    """Plan a path that fails in the middle of an upload."""
    sides = draw.sides(BOTH, TO_SERVER, FROM_SERVER)
    start = Start(payload=draw.chance.randint(25_000, 90_000), side="client")
    size, fault = start.payload + 600_000, draw.fault(start, sides)
    views = (MESSAGE, MESSAGE if sides == FROM_SERVER else None)
    if draw.chance.random() < 0.5:
        words = ["-H", "Expect:", "--data-binary", "@-", "BASE/up"]
        return draw.plan("mid-upload", views, client="curl", curl=words, upload=size, faults=(fault,))
    return draw.plan("mid-upload", views, steps=[{"post": "/up", "size": size}], faults=(fault,))


def _narrow(draw: Draw) -> tuple[bool, int]:
    """Choose whether to use IPv6, and the largest packet that a link carries."""
    ipv6 = draw.chance.random() < 0.4
    return ipv6, draw.chance.randint(1_290, 1_420) if ipv6 else draw.chance.randint(700, 1_400)


def shrunk_upload(draw: Draw) -> Plan:
    """Plan a path on which small requests pass, an upload does not, and no router reports it.

    The SACK of a small last segment, or another connection, shows that the server is alive. Without either, a link for small
    packets cannot be distinguished from a failed path.
    """
    ipv6, carries = _narrow(draw)
    variant = draw.chance.choice(("tail", "beat", "alone"))
    size = draw.chance.randint(4_000, 8_000) if variant == "tail" else draw.chance.randint(30_000, 100_000)
    steps = [*draw.before()[:-1], {"post": "/up", "size": size}]
    if variant == "beat":
        steps.insert(0, {"beat": 0.8})  # each on a connection of its own
    full, headers = (1_428, 72) if ipv6 else (1_448, 52)
    tail = size % full
    unseen = variant == "alone" or (variant == "tail" and not 0 < tail <= carries - headers)
    names = ["unanswered large-only"] + (MESSAGE if unseen else [])
    fault = draw.fault(Start(), TO_SERVER, above=carries)
    harmless = ("no-connection-reuse",) if variant == "beat" else ()
    return draw.plan(f"shrunk upload, {variant}", (names, None), ipv6=ipv6, steps=steps, faults=(fault,), harmless=harmless)


def shrunk_download(draw: Draw) -> Plan:
    """Plan a path on which small responses pass, a large one does not, and no router reports it.

    Beyond the link, the sequence numbers of small packets show this.
    """
    ipv6, carries = _narrow(draw)
    steps = [{"get": "/size/300"}, {"get": f"/size/{draw.chance.randint(5_000, 60_000)}"}]
    server = draw.chance.choice(("nginx", "python", "node"))
    fault = draw.fault(Start(), FROM_SERVER, above=carries)
    names = ["unanswered large-only"]
    return draw.plan("shrunk download", (names, names), ipv6=ipv6, server=server, steps=steps, faults=(fault,))


def too_large(draw: Draw) -> Plan:
    """Plan the same as `shrunk_upload` or `shrunk_download`, with a router that reports the link.

    A firewall on the sending host drops the report, and the receiver gets none.
    """
    ipv6, carries = _narrow(draw)
    upload = draw.chance.random() < 0.6
    ask = (
        {"post": "/up", "size": draw.chance.randint(4_000, 60_000)}
        if upload
        else {"get": f"/size/{draw.chance.randint(5_000, 60_000)}"}
    )
    fault = draw.fault(Start(), TO_SERVER if upload else FROM_SERVER, above=carries, answer=Icmp(4, carries))
    names = ["unanswered too-large"]
    views = (names, None) if upload else (["unanswered large-only"], names)
    return draw.plan("too large", views, ipv6=ipv6, steps=[{"get": "/size/300"}, ask], faults=(fault,), deaf=True)


def unreachable(draw: Draw) -> Plan:
    """Plan a router that answers each packet of a connection with an error, from a moment between two exchanges or in an upload
    on.
    """
    ipv6 = draw.chance.random() < 0.4
    answer = Icmp(draw.chance.choice((0, 1, 3, 4)) if ipv6 else draw.chance.choice((0, 1, 9, 10, 13)))
    names = ["unanswered unreachable"]
    if draw.chance.random() < 0.4:
        start = Start(payload=draw.chance.randint(3_000, 90_000), side="client")
        fault = draw.fault(start, TO_SERVER, answer=answer)
        steps: Steps = [{"post": "/up", "size": start.payload + 300_000}]
        return draw.plan("unreachable, upload", (names, None), ipv6=ipv6, steps=steps, faults=(fault,))
    rest = [{"rest": draw.chance.uniform(0, 7)}]
    fault = draw.fault(TOLD, draw.sides(BOTH, TO_SERVER), answer=answer)
    return draw.plan(
        "unreachable", (names, None), ipv6=ipv6, steps=[*draw.before(), *rest, TELL, {"get": "/size/300"}], faults=(fault,)
    )


def syn_prohibited(draw: Draw) -> Plan:
    """Plan a router that answers the SYN with an error."""
    ipv6 = draw.chance.random() < 0.4
    code = draw.chance.choice((0, 1, 3, 4, 5, 6) if ipv6 else (0, 1, 3, 9, 10, 13))
    prohibited = code in ((1, 4, 5, 6) if ipv6 else (3, 9, 10, 13))
    names = [f"connect-failed {'prohibited' if prohibited else 'unreachable'}"]
    fault = draw.fault(Start(), TO_SERVER, kind="syn", answer=Icmp(code))
    return draw.plan("SYN answered by ICMP", (names, None), ipv6=ipv6, steps=[{"get": "/size/40"}], faults=(fault,), after=2.0)


def syn_dropped(draw: Draw) -> Plan:
    """Plan a SYN that is never answered."""
    fault = draw.fault(Start(), TO_SERVER, kind="syn")
    return draw.plan(
        "SYN dropped", (["connect-failed timed-out"], None), steps=[{"get": "/size/40"}], faults=(fault,), timeout=10.0
    )


def syn_reset(draw: Draw) -> Plan:
    """Plan a device that answers the SYN with a reset."""
    fault = draw.fault(Start(), TO_SERVER, kind="syn", answer=Reset(ttl=draw.chance.choice((64, 128, 255)), ack=True))
    return draw.plan("SYN reset", (["connect-failed refused"], None), steps=[{"get": "/size/40"}], faults=(fault,), after=2.0)


def nat_resets(draw: Draw) -> Plan:
    """Plan a NAT that has forgotten a connection and answers the next request with a reset."""
    fault = draw.fault(Start(), TO_SERVER, rested=1.0, answer=Reset())
    steps = [*draw.before()[:-1], {"rest": draw.chance.uniform(1.5, 6)}, {"get": "/size/300"}]
    names = ["keep-alive-race forgotten"]
    return draw.plan("NAT resets", (names, None), steps=steps, faults=(fault,))


FAULTS: tuple[Callable[[Draw], Plan], ...] = (
    *(gone, gone, idle_death, forgotten, forgotten, forgotten, flushed, forgotten_while_waiting, dies_while_thinking),
    *(mid_response, mid_response, mid_response, mid_drip, mid_upload, mid_upload),
    *(shrunk_upload, shrunk_upload, shrunk_download, too_large, unreachable, unreachable),
    *(syn_prohibited, syn_dropped, syn_reset, nat_resets),
)


def long_rest(draw: Draw) -> Plan:
    """Plan long idle times that the connection survives."""
    rests = [step for _ in range(2) for step in ({"rest": draw.chance.uniform(4, 8)}, {"get": "/size/900"})]
    return draw.plan("long rest", steps=[*draw.before(), *rests])


def slow_server(draw: Draw) -> Plan:
    """Plan a server that works on a response for seconds, while the client waits for it."""
    steps = [*draw.before(), {"get": f"/slow/{draw.chance.randint(2_000, 8_000)}/900"}, {"get": "/drip/6/700/50"}]
    return draw.plan("slow server", steps=steps, timeout=20.0)


def given_up(draw: Draw) -> Plan:
    """Plan a server that works on a response for longer than its client waits."""
    steps = [*draw.before(), {"get": f"/slow/{draw.chance.randint(5_000, 7_000)}/900"}]
    timeout = draw.chance.uniform(1.5, 4)
    return draw.plan("given up", steps=steps, timeout=timeout, harmless=("client-abort",))


def closed_window(draw: Draw) -> Plan:
    """Plan a peer that does not read for seconds: its window closes, is probed, and opens."""
    if draw.chance.random() < 0.5:
        return draw.plan(
            "closed window", steps=[{"post": f"/lazy/{draw.chance.randint(2_000, 6_000)}", "size": 8_000_000}], timeout=20.0
        )
    server = draw.chance.choice(("nginx", "python", "node"))
    step = {"get": "/size/8000000", "rest": draw.chance.uniform(2, 6)}
    return draw.plan("closed window", server=server, steps=[step], timeout=20.0)


def repaired(draw: Draw) -> Plan:
    """Plan a path that fails for a while, in the middle of an upload or a response, or before a request."""
    variant = draw.chance.choice(("response", "upload", "request"))
    sides, lasts = draw.sides(BOTH, TO_SERVER, FROM_SERVER), draw.chance.uniform(0.3, 3.2)
    if variant == "request":
        fault = draw.fault(TOLD, sides, lasts=lasts)
        return draw.plan("repaired, request", steps=[*draw.before(), TELL, {"get": "/size/300"}], faults=(fault,), timeout=20.0)
    start = Start(payload=draw.chance.randint(5_000, 60_000), side="server" if variant == "response" else "client")
    step = {"get": "/size/300000"} if variant == "response" else {"post": "/up", "size": 300_000}
    return draw.plan(f"repaired, {variant}", steps=[step], faults=(draw.fault(start, sides, lasts=lasts),), timeout=20.0)


def path_mtu(draw: Draw) -> Plan:
    """Plan a link that carries only small packets, and a router that reports it, so the sender sends smaller ones."""
    ipv6, carries = _narrow(draw)
    upload = draw.chance.random() < 0.5
    step = {"post": "/up", "size": 40_000} if upload else {"get": "/size/40000"}
    fault = draw.fault(Start(), BOTH, above=max(carries, 1_290), answer=Icmp(4, max(carries, 1_290)))
    return draw.plan("path MTU", ipv6=ipv6, steps=[step, {"get": "/size/900"}], faults=(fault,), timeout=20.0)


def lossy(draw: Draw) -> Plan:
    """Plan pages and uploads, with packet loss only."""
    draw.loss = draw.chance.uniform(0.005, 0.03)
    steps = [*draw.before(), {"get": "/size/60000"}, {"post": "/up", "size": 60_000}, {"get": "/size/900"}]
    return draw.plan("lossy", steps=steps, timeout=30.0)


def forgotten_unused(draw: Draw) -> Plan:
    """Plan a NAT that forgets a pooled connection which is never used again: only its close is lost."""
    limit = draw.chance.uniform(2, 4)
    fault = draw.fault(Start(), BOTH, rested=limit)
    return draw.plan("forgotten, unused", steps=[*draw.before(), {"rest": limit + 1}], faults=(fault,))


def one_direction(draw: Draw) -> Plan:
    """Plan a path that fails, in a recording that lacks one direction: silence proves nothing there."""
    start = Start(payload=draw.chance.randint(20_000, 60_000), side="server")
    sides = draw.sides(BOTH, TO_SERVER, FROM_SERVER)
    side = draw.chance.choice(SIDES)
    steps: Steps = [{"get": "/size/700000"}]
    return draw.plan("one direction", steps=steps, faults=(draw.fault(start, sides),), only_from=side, harmless=("one-sided",))


def cut_early(draw: Draw) -> Plan:
    """Plan a path that fails, and a capture that ends with the second retransmission."""
    fault = draw.fault(TOLD, draw.sides(BOTH, TO_SERVER, FROM_SERVER))
    draw.loss = 0.0
    return draw.plan("cut early", steps=[*draw.before(), TELL, {"get": "/size/300"}], faults=(fault,), cut_before_end=True)


TWINS: tuple[Callable[[Draw], Plan], ...] = (
    *(long_rest, long_rest, slow_server, slow_server, given_up, closed_window, closed_window, repaired, repaired, repaired),
    *(path_mtu, lossy, lossy, forgotten_unused, one_direction, cut_early),
)


def plan(families: tuple[Callable[[Draw], Plan], ...], number: int, seed: int) -> Plan:
    """Return the plan with this number; families take turns."""
    draw = Draw(number, seed, healthy=families is TWINS)
    return families[number % len(families)](draw)
