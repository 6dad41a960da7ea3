"""Choose random requests through a gateway: what the server behind it does, when, for which client, and which failure results.

A plan depends on seed and number only. Each request has an id, by which the two sides of the gateway are paired: in
`X-Request-Id` (header), in `?id=` (query), or in `X-Lab` (hidden), a field that only this lab knows.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from gateways import DEAF, DROPPED, FRAIL, IDLE, MAKERS, REST, A, B

Request = dict[str, Any]
"""A request in the format of peers/told_client.py."""

FORMS = ("header", "query", "hidden")
PLACES = ("any", "lo", "delay")
"""The places of a gateway: "any" has three hosts, captured on the gateway; "lo" has all on 127.0.0.1; "delay" is like "any", with
a delay to the servers.
"""

AGENTS = ("curl/7.88.1", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "python-requests/2.31.0")
ITEMS = ("list", "item", "order", "account")

KINDS = {
    **dict.fromkeys(("close", "reset", "die", "unread", "race"), "closed"),
    **dict.fromkeys(("part-head", "garbage", "no-colon", "large-head"), "rejected-response"),
    **dict.fromkeys(("cut", "cut-chunks", "stall"), "truncated"),
    **dict.fromkeys(("never", "late", "stall-in-head"), "timed-out"),
    "refused": "refused",
    "drop": "unreachable",
    "deaf": "unsent",
    "gone": "not-passed-on",
    "nobody": "not-passed-on",
    "frail": "refused",
}
"""The kind of gateway-error that results from what the server does, or from a route, if the gateway reports its own failure."""


@dataclass
class Plan:
    """A recording: its gateways, servers and limits, and the requests of its clients."""

    number: int
    family: str
    makers: tuple[str, ...]
    """The gateways, the outermost first."""

    place: str
    form: str
    delay: float = 0.0
    read: float = 1.5
    outer_read: float = 1.5
    pooled: bool = True
    ports: tuple[int, ...] = (A, B)
    clients: list[list[Request]] = field(default_factory=list[list[Request]])

    @property
    def name(self) -> str:
        return f"{self.number:03}-{self.family}-{'-'.join(self.makers)}-{self.place}-{self.form}"


class Writer:
    """Creates the requests of a plan."""

    def __init__(self, chance: random.Random, form: str) -> None:
        self.chance, self.form, self.count = chance, form, 0

    def ask(self, at: float, target: str, deed: str = "", **more: Any) -> Request:
        """Return a request. `deed`: what the field X-Do tells the server to do."""
        self.count += 1
        key = f"r{self.count:03}"
        fields = {"User-Agent": self.chance.choice(AGENTS), "Accept": "*/*"}
        if self.form == "query":
            target += f"?id={key}"
        else:
            fields["X-Request-Id" if self.form == "header" else "X-Lab"] = key
        if deed:
            fields["X-Do"] = deed
        return {"at": round(at, 3), "id": key, "method": "GET", "target": target, "fields": fields, "deed": deed, **more}


def plan(number: int, seed: int) -> Plan:
    """Return the plan with this number."""
    chance = random.Random(f"{seed}-{number}")
    family = list(FAMILIES)[number % len(FAMILIES)]
    turn = number // len(FAMILIES)
    maker = MAKERS[(turn + number) % len(MAKERS)]
    place = "delay" if family == "races" else PLACES[(turn + number // 3) % len(PLACES)]
    case = Plan(number, family, (maker,), place, FORMS[(turn + number) % len(FORMS)])
    case.delay = chance.choice((0.002, 0.01, 0.03)) if place == "delay" else 0.0
    case.read = case.outer_read = chance.choice((1.0, 1.5, 2.0))
    case.pooled = chance.random() < 0.8
    FAMILIES[family](case, Writer(chance, case.form), chance)
    return case


BROKEN = ("close", "die", "reset", "part-head", "garbage", "no-colon", "large-head", "cut", "cut-chunks")
SOUND = ("", "", "", "chunks", "late;for=0.2", "404", "500", "503", "502")


def _any_request(write: Writer, chance: random.Random, at: float, base: str) -> Request:
    target = base + chance.choice(ITEMS)
    deed = chance.choice(BROKEN if chance.random() < 0.5 else SOUND)
    if chance.random() < 0.08:
        return write.ask(at, target, "unread", method="POST", body=60_000)
    if chance.random() < 0.25:
        return write.ask(at, target, deed, method="POST", body=chance.randrange(1, 3_000))
    if deed in SOUND and chance.random() < 0.1:
        return write.ask(at, target, deed if deed.isdigit() else "", method="HEAD")
    return write.ask(at, target, deed)


def _mix(case: Plan, write: Writer, chance: random.Random, base: str = "/a/", clients: int = 4) -> None:
    """Add clients that send one request after the other; half of the requests fail."""
    for _ in range(clients):
        at, requests = chance.random(), list[Request]()
        for _ in range(7):
            requests.append(_any_request(write, chance, at, base))
            at += chance.choice((0.02, 0.1, 0.3))
        case.clients.append(requests)


def _rewrite(case: Plan, write: Writer, chance: random.Random) -> None:
    _mix(case, write, chance, "/api/")


def _waits(case: Plan, write: Writer, chance: random.Random) -> None:
    """Add clients that wait for responses, connections and windows."""
    case.ports = (A, B, DROPPED, DEAF)
    late = f"late;for={case.read + 0.8}"
    waiting = ["never", late, "stall-in-head", "drop", "late;for=0.6"]
    if case.makers[0] not in ("caddy", "go"):  # these have no limit for a body
        waiting += ["stall", "deaf"]
    for turn in range(8):
        requests, at = list[Request](), 0.1 + 0.13 * turn
        for _ in range(3):
            requests.append(write.ask(at, "/a/" + chance.choice(ITEMS)))
            what = waiting[turn] if turn < len(waiting) else chance.choice(waiting)
            if what == "drop":
                requests.append(write.ask(at + 0.1, "/drop/" + chance.choice(ITEMS), route="drop"))
            elif what == "deaf":
                requests.append(write.ask(at + 0.1, f"/deaf/upload-{turn}", method="POST", body=300_000, route="deaf"))
            else:
                requests.append(write.ask(at + 0.1, "/a/" + chance.choice(ITEMS), what))
            chance.shuffle(waiting)
            at += 0.3
        case.clients.append(requests)
    leaving = [write.ask(0.5 + n, "/a/" + chance.choice(ITEMS), "late;for=0.8", leave=0.3) for n in range(2)]
    case.clients.append(leaving)


def _refusals(case: Plan, write: Writer, chance: random.Random) -> None:
    """Add requests to servers that do not listen, ended, or do not exist, and some that succeed."""
    case.ports = (A, B, FRAIL)
    for turn in range(4):
        requests, at = list[Request](), 0.1 + 0.2 * turn
        for route in chance.sample(("refused", "refused", "gone", "", "a"), 5):
            base = f"/{route or 'a'}/"
            more: Request = {} if route in ("", "a") else {"route": route}
            method: Request = {"method": "POST", "body": 20} if chance.random() < 0.3 else {}
            requests.append(write.ask(at, base + chance.choice(ITEMS), **more, **method))
            at += chance.choice((0.05, 0.2))
        case.clients.append(requests)
    dying = [write.ask(0.3, "/frail/list"), write.ask(0.5, "/frail/list", "die")]
    dying += [write.ask(0.8 + 0.1 * n, "/frail/" + ITEMS[n % 4], route="frail") for n in range(3)]
    dying += [write.ask(2.4, "/frail/order", route="frail")]
    case.clients.append(dying)
    if case.place != "lo":
        case.clients.append([write.ask(3.2, "/nobody/list", route="nobody")])


def _races(case: Plan, write: Writer, chance: random.Random) -> None:
    """Add requests that meet a server's idle timeout, each on its own connection behind the gateway."""
    case.delay, case.pooled = 0.03, True
    case.ports = (A, B, IDLE)
    for turn in range(6):
        post: Request = {"method": "POST", "body": 12} if chance.random() < 0.7 else {}
        first = write.ask(0.1 + 0.3 * turn, "/idle/" + chance.choice(ITEMS), **post)
        second = write.ask(0, "/idle/" + chance.choice(ITEMS), after=REST - chance.uniform(0.02, 0.04), route="race", **post)
        third = write.ask(0, "/idle/" + chance.choice(ITEMS), after=0.1)
        case.clients.append([first, second, third])


def _retries(case: Plan, write: Writer, chance: random.Random) -> None:
    """Add requests for which the gateway tries another server if one fails."""
    for turn in range(5):
        requests, at = list[Request](), 0.1 + 0.15 * turn
        for _ in range(6):
            deed = chance.choice(("", "", "die;of=A", "503;of=A", "close;of=A", "part-head;of=A", "reset;of=A"))
            base = "/pair/" if chance.random() < 0.4 else "/two/"
            more: Request = {"method": "POST", "body": 30} if chance.random() < 0.3 else {}
            if base == "/pair/":
                requests.append(write.ask(at, base + chance.choice(ITEMS), route="refused", **more))
            else:
                requests.append(write.ask(at, base + chance.choice(ITEMS), deed, **more))
            at += chance.choice((0.05, 0.15))
        case.clients.append(requests)


def _burst(case: Plan, write: Writer, chance: random.Random) -> None:
    """Add many equal requests at the same time; some of them fail."""
    size = chance.choice((4, 8, 12))
    bad = chance.choice(("die", "close", "late;for=9", "part-head"))
    every = chance.random() < 0.3
    for _ in range(size):
        requests = [write.ask(0.1, "/a/account")]
        for wave in range(3):
            deed = bad if every or chance.random() < 0.3 else chance.choice(("", "late;for=0.3", "503"))
            asked = write.ask(0.6 + 0.9 * wave + chance.uniform(0, 0.004), "/a/list", deed)
            asked["fields"] |= {"User-Agent": AGENTS[0]}
            requests.append(asked)
        case.clients.append(requests)


def _chain(case: Plan, write: Writer, chance: random.Random) -> None:
    """Put one gateway behind another."""
    inner = chance.choice(MAKERS)
    case.makers = (case.makers[0], inner)
    case.outer_read = chance.choice((case.read, case.read + 2))
    _mix(case, write, chance, clients=3)
    case.ports = (A, B, DROPPED)
    slow = [write.ask(0.4, "/a/list", "never"), write.ask(0.5, "/refused/list", route="refused")]
    slow += [write.ask(0.6, "/a/account", "late;for=0.7"), write.ask(0.7, "/drop/item", route="drop")]
    slow += [write.ask(0.8, "/refused/item", route="refused"), write.ask(0.9, "/gone/item", route="gone")]
    case.clients.append(slow)


FAMILIES = {
    "mix": _mix,
    "waits": _waits,
    "refusals": _refusals,
    "retries": _retries,
    "chain": _chain,
    "burst": _burst,
    "races": _races,
    "rewrite": _rewrite,
}


def kinds(case: Plan, request: Request, got: dict[str, Any]) -> list[str] | None:
    """Return what may be reported for a front exchange: kinds of gateway-error, passed-on or none. None: it was not meant to
    fail.

    In a chain, the innermost try decides: a response that breaks off there may become a 502 of the outer gateway.
    """
    if got["got"] in ("left", "garbage"):
        return ["none"]
    failed = got["got"] in ("closed", "cut") or got["status"] >= 500
    if not failed:
        return ["none"]
    if got["got"] == "answered" and got["by"]:
        return ["passed-on"]
    deed, _, options = request["deed"].partition(";")
    kind = KINDS.get(deed) or KINDS.get(request.get("route", ""))
    if kind is None or (deed == "late" and float(options.partition("=")[2]) < case.read):
        return None
    if got["got"] == "cut":
        return ["truncated"] if kind == "truncated" else None
    if case.family == "retries" and case.makers == ("caddy",):
        return _of_caddy(kind, request, got["status"])
    if kind == "truncated" and got["got"] == "answered":
        return ["rejected-response", *(["truncated"] if len(case.makers) > 1 else [])]
    if kind == "rejected-response" and got["got"] == "closed":
        return ["rejected-response", "truncated"]
    return [kind]


def _of_caddy(kind: str, request: Request, status: int) -> list[str] | None:
    """Return the expected kinds for Caddy.

    Caddy does not use a server that failed for a while (fail_duration), and sends a 503 if no server is left. Caddy 2.6 repeats a
    request without its body, and then aborts the repetition itself.
    """
    if status == 503:
        return ["not-passed-on", kind]
    return None if request.get("body") else [kind]
