"""Choose networks of services in which something fails, and what a report must say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service_shapes import AGENTS, BROWSER, Plan
from services_behind_gateways import asking_auth

if TYPE_CHECKING:
    import random

    from service_shapes import Node


def time_limit(case: Plan, chance: random.Random) -> None:
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


def slow_part(case: Plan, chance: random.Random) -> None:
    parts = [*case.leaves("part", 3), case.add("slow", "leaf", base=0.6)]
    top = case.add("top", "fan", services=parts, path="/product", forward=["id"])
    case.ask(chance, [top], "/page/{n}", ids=True, count=5)
    case.meant = [["slow-sibling", "fan-out", "slow"]]


def queue(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", 2, base=0.06, jitter=0.002)
    gate = case.add("gate", "proxy", services=apps, most=2)
    case.ask(chance, [gate], "/item/{n}", hosts=3, count=8, each=0.1)
    case.meant = [["queued-requests", "connections", "app0"]]


def workers(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", base=0.02, jitter=0.001, threads=4, slow_paths=["/report", 0.8])
    case.ask(chance, [app], "/report/{n}", hosts=1, count=6, each=0.4)
    case.ask(chance, [app], "/api/{n}", hosts=2, count=3, each=0.1)
    case.meant = [["queued-requests", "workers", "app"]]


def pauses(case: Plan, chance: random.Random) -> None:
    every, long = chance.choice(((2.5, 1.3), (2.0, 0.8)))
    bad = case.add("bad", "leaf", pauses=[every, long])
    case.ask(chance, [bad, *case.leaves("good", 2)], "/item/{n}", hosts=3, count=5, all=True, each=0.1, until=9.0)
    case.meant = [["server-pause", "", "bad"]]
    case.allowed = ["slow-response"]


def leak(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", idle=1)
    case.ask(chance, [app], "/item/{n}", hosts=2, count=14, each=2.4, until=9.0)
    for user in case.users:
        case.nodes[user["node"]]["leaks"] = True
    case.meant = [["unclosed-connections", "", "app"]]


def storm(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", rate=30)
    middle = case.add("middle", "stubborn", services=[app], tries=4, between=chance.choice((0.02, 0.05)))
    case.ask(chance, [middle], "/order/{n}", count=6)
    case.meant = [["retry-storm", "", "app"]]


def failing_auth(case: Plan, chance: random.Random) -> None:
    asking_auth(case, chance)
    case.nodes["auth"]["fails"] = (0.1, 500)
    case.meant = [["gateway-error", "failed-call", "gate"]]


def outage(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", dead=[2.5, 5.0])
    front = case.add("front", "breaker", services=[app])
    case.ask(chance, [front], "/order/{n}")
    case.meant = [["gateway-error", "refused", "front"]]
    case.allowed = ["gateway-error", "connect-failed", "no-response", "keep-alive-race"]


def drops(case: Plan, chance: random.Random) -> None:
    parts = [*case.leaves("part", 2), case.add("bad", "leaf", drops=0.12)]
    top = case.add("top", "fan", services=parts, path="/hook", optional=True)
    case.ask(chance, [top], "/event/{n}")
    case.meant = [["no-response", "", "bad"]]


def canary(case: Plan, chance: random.Random) -> None:
    bad = case.add("bad", "leaf", fails=(0.4, 500))
    case.ask(chance, [bad, *case.leaves("good", chance.randint(2, 4))], "/item/{n}", hosts=2, count=5, all=True)
    case.meant = [["failing-sibling", "", "bad"]]


def cut_off(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", size=20_000, stalls=(0.2, 2.5))
    case.add("gate", "nginx", services=[app], port=80, read=1.0)
    case.ask(chance, ["gate"], "/rows/{n}", lab=True, count=5)
    case.meant = [["gateway-error", "truncated", "gate"]]
    case.allowed = ["truncated-response", "client-abort"]


def shards(case: Plan, chance: random.Random) -> None:
    parts = [*case.leaves("shard", 2, even=True), case.add("slow", "leaf", even=True, tail=(0.1, 1.2))]
    parts.append(case.add("bad", "leaf", even=True, drops=0.1))
    brokers = [case.add(f"broker{n}", "fan", services=parts, same=True, optional=True, timeout=0.5) for n in range(2)]
    case.ask(chance, brokers, "/search/{n}", keys=60)
    case.meant = [["client-abort", "timeout", "slow"], ["no-response", "", "bad"]]
    case.allowed = ["slow-response", "slow-sibling"]


def leaking_server(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", leaks=True)
    case.ask(chance, [app], "/item/{n}", hosts=2, count=3, each=0.5, until=8.0)
    for user in case.users:
        case.nodes[user["node"]]["reuses"] = False
    case.meant = [["unclosed-connections", "server", "app"]]


def rate_limit(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", base=0.006)
    status = chance.choice((429, 503))
    gate = case.add("gate", "limiter", services=[app], rate=30, status=status)
    case.ask(chance, [gate], "/order/{n}", count=6)
    if status == 503:  # a 429 says by itself what it is
        case.meant = [["gateway-error", "rate-limit", gate]]


def failed_call(case: Plan, chance: random.Random) -> None:
    bad = case.add("bad", "leaf", fails=(0.12, chance.choice((500, 503))))
    top = case.add("top", "fan", services=[*case.leaves("part", 2), bad], path="/product")
    through = chance.random() < 0.5
    front = case.add("gate", "proxy", services=[top]) if through else top
    case.ask(chance, [front], "/page/{n}")
    case.meant = [["gateway-error", "failed-call", front]]
    case.allowed = ["failing-sibling", "gateway-error"]


def pool(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", base=0.06, jitter=0.002)
    top = case.add("top", "fan", services=[app], path="/product", most=2)
    case.ask(chance, [top], "/page/{n}", hosts=3, count=6, each=0.1)
    case.meant = [["queued-requests", "connections", "app"]]


def one_worker(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", one_by_one=True, idle=2)
    case.ask(chance, [app], "/item/{n}", hosts=2, count=2, each=0.2, until=9.0)
    for user in case.users:
        case.nodes[user["node"]]["uses"] = 3
    case.meant = [["queued-requests", "workers", "app"]]
    case.allowed = ["slow-response"]


def failing_hooks(case: Plan, chance: random.Random) -> None:
    subscribers = [*case.leaves("subscriber", 2), case.add("failing", "leaf", fails=(0.4, 500))]
    subscribers.append(case.add("dropping", "leaf", drops=0.2))
    dispatcher = case.add("dispatcher", "dispatch", services=subscribers)
    case.ask(chance, [dispatcher], "/hook/{n}", posts=1)
    case.meant = [["no-response", "", "dropping"], ["failing-sibling", "", "failing"]]


def pauses_behind(case: Plan, chance: random.Random) -> None:
    bad = case.add("bad", "leaf", pauses=[2.5, 1.2])
    gate = case.add("gate", "proxy", services=[bad, *case.leaves("good", 2)])
    case.ask(chance, [gate], "/item/{n}", hosts=3, count=5, each=0.1, until=9.0)
    case.meant = [["server-pause", "", "bad"]]
    case.allowed = ["slow-response"]


def failing_behind(case: Plan, chance: random.Random) -> None:
    bad = case.add("bad", "leaf", fails=(0.3, 500))
    gate = case.add("gate", "proxy", services=[bad, *case.leaves("good", 3)])
    case.ask(chance, [gate], "/item/{n}", hosts=2, count=5)
    case.meant = [["failing-sibling", "", "bad"]]


def cut_in_front(case: Plan, chance: random.Random) -> None:
    cut_off(case, chance)
    case.only = "tcp port 80"
    case.meant = [["truncated-response", "", "gate"]]
    case.allowed = []


def behind_one_address(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", base=0.03, jitter=0.03, tail=(0.1, 1.4))
    host = case.add("nat", "user")
    usual: Node = {"node": host, "to": [app], "until": 8.0, "each": 0.2}
    browser = {"agent": BROWSER, "accept": "text/html"}
    case.users = [
        {**usual, **browser, "name": "pages", "path": "/page/{n}", "count": 4, "parts": 3, "leaves": 0.15},
        {**usual, "name": "calls", "path": "/api/{n}", "count": 5, "timeout": chance.choice((0.3, 0.6)), "agent": AGENTS[0]},
    ]
    case.meant = [["client-abort", "timeout", "app"]]
    case.allowed = ["slow-response"]


def failing_peers(case: Plan, chance: random.Random) -> None:
    names = [f"peer{n}" for n in range(4)]
    for name in names:
        case.add(name, "peer", services=names, forward=["xff"])
    case.nodes["peer3"]["fails"] = (0.3, 503)
    case.ask(chance, names, "/k/{n}", hosts=2, count=4)
    case.meant = [["failing-sibling", "", "peer3"]]
