"""Choose random networks of services: who asks whom, what fails, and what a report must say of it.

A plan depends on seed and number only.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

Node = dict[str, Any]

AGENTS = ("shop/1.4", "python-requests/2.31.0", "okhttp/4.12.0", "Go-http-client/1.1")


@dataclass
class Plan:
    """A network of services.

    `meant`: what must be found, as lists [rule, kind or "", server's node or ""]; `allowed`: rules that may speak, too.
    """

    number: int
    family: str
    group: str
    local: bool = False
    nodes: dict[str, Node] = field(default_factory=dict[str, Node])
    users: list[Node] = field(default_factory=list[Node])
    meant: list[list[str]] = field(default_factory=list[list[str]])
    allowed: list[str] = field(default_factory=list[str])
    hosts: int = 0

    @property
    def name(self) -> str:
        return f"{self.number:03}-{self.group}-{self.family}"

    def add(self, name: str, do: str, host: int | None = None, **more: Any) -> str:
        """Add a node on a host of its own, or on that of another node."""
        if host is None:
            host, self.hosts = self.hosts, self.hosts + 1
        port = 8000 + len(self.nodes) if self.local else more.pop("port", 8080)
        self.nodes[name] = {"do": do, "host": 0 if self.local else host, "port": port, **more}
        return name

    def leaves(self, name: str, count: int, **more: Any) -> list[str]:
        """Add `count` services that answer alone."""
        return [self.add(f"{name}{number}", "leaf", **more) for number in range(count)]

    def ask(self, chance: random.Random, to: list[str], path: str, *, hosts: int = 2, count: int = 4, **more: Any) -> None:
        """Add users on `hosts` hosts, `count` on each, who ask the nodes `to`."""
        for _ in range(hosts):
            node = self.add(f"user{len(self.users)}", "user")
            usual = {"each": 0.15, "until": 6.0, "agent": chance.choice(AGENTS)}
            self.users.append({"name": node, "node": node, "to": to, "path": path, "count": count, **usual, **more})


# ---- healthy


def _brokers(case: Plan, chance: random.Random) -> None:
    shards = case.leaves("shard", chance.randint(3, 5), even=True, size=400)
    brokers = [case.add(f"broker{n}", "fan", services=shards, path="/search", optional=True) for n in range(3)]
    case.ask(chance, brokers, "/search/{n}", keys=60, each=0.2)


def _poll(case: Plan, chance: random.Random) -> None:
    replicas = case.leaves("config", 3, even=True, size=200, base=0.002, jitter=0.2)
    case.ask(chance, replicas, "/config", hosts=chance.randint(4, 6), count=5, etag=True, agent="agent/7", each=0.4)


def _hedge(case: Plan, chance: random.Random) -> None:
    replicas = case.leaves("replica", 3, base=0.005, jitter=0.004, tail=(0.1, 0.3))
    hedger = case.add("hedger", "hedge", services=replicas, after=0.03)
    case.ask(chance, [hedger], "/item/{n}", hosts=2, count=5)


def _quorum(case: Plan, chance: random.Random) -> None:
    replicas = [*case.leaves("replica", 2), case.add("far", "leaf", base=0.08)]
    leader = case.add("leader", "quorum", services=replicas, need=2)
    case.ask(chance, [leader], "/kv/{n}", hosts=2, count=4)


def _peers(case: Plan, chance: random.Random) -> None:
    names = [f"peer{n}" for n in range(4)]
    for name in names:
        case.add(name, "peer", services=names, forward=["xff"])
    case.ask(chance, names, "/k/{n}", hosts=2, count=4)


def _local_fan(case: Plan, chance: random.Random) -> None:
    case.local = True
    parts = [case.add(f"part{n}", "leaf", base=chance.uniform(0.002, 0.03)) for n in range(4)]
    top = case.add("top", "fan", services=parts, path="/product")
    case.ask(chance, [top], "/page/{n}", hosts=1, count=5)


def _monitors(case: Plan, chance: random.Random) -> None:
    targets = [case.add(f"target{n}", "leaf", size=3000, base=chance.uniform(0.003, 0.06)) for n in range(8)]
    case.ask(chance, targets, "/metrics", hosts=2, count=1, all=True, each=0.06, agent="Prometheus/2.42.0", until=8.0)
    case.ask(chance, targets, "/healthz", hosts=2, count=1, all=True, each=0.05, agent="", until=8.0)


def _rotation(case: Plan, chance: random.Random) -> None:
    instances = case.leaves("instance", 3)
    case.ask(chance, instances, "/item/{n}", hosts=3, count=3, all=True, posts=0.2)


def _local_siblings(case: Plan, chance: random.Random) -> None:
    case.local = True
    parts = case.leaves("part", 3, even=True)
    top = case.add("top", "fan", services=parts, path="/v1/product")
    case.ask(chance, [top], "/product/{n}", hosts=1, count=4, keys=30)
    case.ask(chance, parts, "/v1/product/{n}", hosts=1, count=3, keys=30)


# ---- gateways


def _plain_proxy(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", chance.randint(1, 3), base=0.008)
    forward = chance.choice(([], ["xff"], ["id"]))
    gate = case.add("gate", "proxy", services=apps, forward=forward)
    case.ask(chance, [gate], "/api/item/{n}", ids="id" in forward, posts=0.2)


def _rewriting(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", 2, base=0.008)
    gate = case.add("gate", "proxy", services=apps, strip="/api", prefix="/v1")
    case.ask(chance, [gate], "/api/item/{n}")


def _two_in_a_row(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", 2, base=0.008)
    inner = case.add("inner", "proxy", services=apps)
    outer = case.add("outer", "proxy", services=[inner])
    case.ask(chance, [outer], "/order/{n}", posts=0.3)


def _retrying(case: Plan, chance: random.Random) -> None:
    apps = [case.add("bad", "leaf", fails=(0.3, 503)), *case.leaves("app", 2)]
    gate = case.add("gate", "proxy", services=apps, again=1)
    case.ask(chance, [gate], "/order/{n}")
    case.meant = [["failing-sibling", "", "bad"]]


def _local_proxy(case: Plan, chance: random.Random) -> None:
    case.local = True
    apps = case.leaves("app", 2, base=0.008)
    gate = case.add("gate", "proxy", services=apps, forward=chance.choice(([], ["id"])))
    case.ask(chance, [gate], "/item/{n}", hosts=1, count=5, ids=True)


def _before_fan(case: Plan, chance: random.Random) -> None:
    parts = case.leaves("part", 3)
    top = case.add("top", "fan", services=parts, path="/product")
    gate = case.add("gate", "proxy", services=[top])
    case.ask(chance, [gate], "/page/{n}")


def _nginx(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", chance.randint(1, 3), base=0.008)
    gate = case.add("gate", "nginx", services=apps, port=80, strip=chance.choice(("", "/api")))
    case.ask(chance, [gate], "/api/item/{n}", lab=True, posts=0.2)


def _nginx_before_proxy(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", 2, base=0.008)
    inner = case.add("inner", "proxy", services=apps)
    gate = case.add("gate", "nginx", services=[inner], port=80)
    case.ask(chance, [gate], "/item/{n}", lab=True)


def _asking_auth(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", 1, base=0.008)
    auth = case.add("auth", "leaf", base=0.003, even=True)
    gate = case.add("gate", "nginx", services=apps, port=80, auth=auth)
    case.ask(chance, [gate], "/item/{n}", lab=True)


# ---- faults


def _time_limit(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", tail=(0.12, 1.6))
    limit = chance.choice((0.4, 0.7, 1.0))
    host = case.add("nat", "user")
    usual: Node = {"node": host, "to": [app], "until": 7.0, "agent": AGENTS[0]}
    case.users = [
        {**usual, "name": "pages", "path": "/page/{n}", "count": 5, "each": 0.2},
        {**usual, "name": "calls", "path": "/api/{n}", "count": 5, "each": 0.2, "timeout": limit},
    ]
    case.meant = [["client-abort", "timeout", "app"]]
    case.allowed = ["slow-response"]


def _slow_part(case: Plan, chance: random.Random) -> None:
    parts = [*case.leaves("part", 3), case.add("slow", "leaf", base=0.6)]
    top = case.add("top", "fan", services=parts, path="/product", forward=["id"])
    case.ask(chance, [top], "/page/{n}", ids=True, count=5)
    case.meant = [["slow-sibling", "fan-out", "slow"]]


def _queue(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", 2, base=0.06, jitter=0.002)
    gate = case.add("gate", "proxy", services=apps, most=2)
    case.ask(chance, [gate], "/item/{n}", hosts=3, count=8, each=0.1)
    case.meant = [["queued-requests", "connections", "app0"]]


def _workers(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", base=0.02, jitter=0.001, threads=4, slow_paths=["/report", 0.8])
    case.ask(chance, [app], "/report/{n}", hosts=1, count=6, each=0.05)
    case.ask(chance, [app], "/api/{n}", hosts=2, count=3, each=0.1)
    case.meant = [["queued-requests", "workers", "app"]]


def _pauses(case: Plan, chance: random.Random) -> None:
    every, long = chance.choice(((2.5, 1.3), (2.0, 0.8)))
    bad = case.add("bad", "leaf", pauses=[every, long])
    case.ask(chance, [bad, *case.leaves("good", 2)], "/item/{n}", hosts=3, count=5, all=True, each=0.1, until=9.0)
    case.meant = [["server-pause", "", "bad"]]
    case.allowed = ["slow-response"]


def _leak(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", idle=0.6)
    case.ask(chance, [app], "/item/{n}", hosts=2, count=5, each=1.0, until=9.0)
    for user in case.users:
        case.nodes[user["node"]]["leaks"] = True
    case.meant = [["unclosed-connections", "", "app"]]
    case.allowed = ["premature-close"]


def _storm(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", rate=30)
    middle = case.add("middle", "stubborn", services=[app], tries=4, between=chance.choice((0.02, 0.05)))
    case.ask(chance, [middle], "/order/{n}", count=6)
    case.meant = [["retry-storm", "", "app"]]


def _failing_auth(case: Plan, chance: random.Random) -> None:
    _asking_auth(case, chance)
    case.nodes["auth"]["fails"] = (0.1, 500)
    case.meant = []


def _outage(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", dead=[2.5, 5.0])
    front = case.add("front", "breaker", services=[app])
    case.ask(chance, [front], "/order/{n}")
    case.meant = [["gateway-error", "refused", "front"]]
    case.allowed = ["gateway-error", "connect-failed"]


def _drops(case: Plan, chance: random.Random) -> None:
    parts = [*case.leaves("part", 2), case.add("bad", "leaf", drops=0.12)]
    top = case.add("top", "fan", services=parts, path="/hook", optional=True)
    case.ask(chance, [top], "/event/{n}")
    case.meant = [["no-response", "", "bad"]]


def _canary(case: Plan, chance: random.Random) -> None:
    bad = case.add("bad", "leaf", fails=(0.4, 500))
    case.ask(chance, [bad, *case.leaves("good", chance.randint(2, 4))], "/item/{n}", hosts=2, count=5, all=True)
    case.meant = [["failing-sibling", "", "bad"]]


def _cut_off(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", size=20_000, stalls=(0.2, 2.5))
    case.add("gate", "nginx", services=[app], port=80, read=1.0)
    case.ask(chance, ["gate"], "/rows/{n}", lab=True, count=5)
    case.meant = [["gateway-error", "truncated", "gate"]]
    case.allowed = ["truncated-response", "client-abort"]


GROUPS = {
    "healthy": (_brokers, _poll, _hedge, _quorum, _peers, _local_fan, _monitors, _rotation, _local_siblings),
    "gateway": (
        *(_plain_proxy, _rewriting, _two_in_a_row, _retrying, _local_proxy, _before_fan),
        *(_nginx, _nginx_before_proxy, _asking_auth),
    ),
    "fault": (
        *(_time_limit, _slow_part, _queue, _workers, _pauses, _leak),
        *(_storm, _failing_auth, _outage, _drops, _canary, _cut_off),
    ),
}
FAMILIES = [(group, make) for group, makes in GROUPS.items() for make in makes]


def plan(number: int, seed: int) -> Plan:
    """Return the plan with this number."""
    chance = random.Random(f"{seed}-{number}")
    group, make = FAMILIES[number % len(FAMILIES)]
    case = Plan(number, make.__name__.strip("_").replace("_", "-"), group)
    make(case, chance)
    return case
