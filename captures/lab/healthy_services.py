"""Choose networks of services in which nothing fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service_shapes import AGENTS, BROWSER, Plan

if TYPE_CHECKING:
    import random

    from service_shapes import Node


def brokers(case: Plan, chance: random.Random) -> None:
    shards = case.leaves("shard", chance.randint(3, 5), even=True, size=400)
    brokers = [case.add(f"broker{n}", "fan", services=shards, path="/search", optional=True) for n in range(3)]
    case.ask(chance, brokers, "/search/{n}", keys=60, each=0.2)


def poll(case: Plan, chance: random.Random) -> None:
    replicas = case.leaves("config", 3, even=True, size=200, base=0.002, jitter=0.2)
    case.ask(chance, replicas, "/config", hosts=chance.randint(4, 6), count=5, etag=True, agent="agent/7", each=0.4)


def hedge(case: Plan, chance: random.Random) -> None:
    replicas = case.leaves("replica", 3, base=0.005, jitter=0.004, tail=(0.1, 0.3))
    hedger = case.add("hedger", "hedge", services=replicas, after=0.03)
    case.ask(chance, [hedger], "/item/{n}", hosts=2, count=5)


def quorum(case: Plan, chance: random.Random) -> None:
    replicas = [*case.leaves("replica", 2), case.add("far", "leaf", base=0.08)]
    leader = case.add("leader", "quorum", services=replicas, need=2)
    case.ask(chance, [leader], "/kv/{n}", hosts=2, count=4)


def peers(case: Plan, chance: random.Random) -> None:
    names = [f"peer{n}" for n in range(4)]
    for name in names:
        case.add(name, "peer", services=names, forward=["xff"])
    case.ask(chance, names, "/k/{n}", hosts=2, count=4)


def local_fan(case: Plan, chance: random.Random) -> None:
    case.local = True
    parts = [case.add(f"part{n}", "leaf", base=chance.uniform(0.002, 0.03)) for n in range(4)]
    top = case.add("top", "fan", services=parts, path="/product")
    case.ask(chance, [top], "/page/{n}", hosts=1, count=5)


def monitors(case: Plan, chance: random.Random) -> None:
    targets = [case.add(f"target{n}", "leaf", size=3000, base=chance.uniform(0.003, 0.06)) for n in range(8)]
    case.ask(chance, targets, "/metrics", hosts=2, count=1, all=True, each=0.06, agent="Prometheus/2.42.0", until=8.0)
    case.ask(chance, targets, "/healthz", hosts=2, count=1, all=True, each=0.05, agent="", until=8.0)


def rotation(case: Plan, chance: random.Random) -> None:
    instances = case.leaves("instance", 3)
    case.ask(chance, instances, "/item/{n}", hosts=3, count=3, all=True, posts=0.2)


def local_siblings(case: Plan, chance: random.Random) -> None:
    case.local = True
    parts = case.leaves("part", 3, even=True)
    top = case.add("top", "fan", services=parts, path="/v1/product")
    case.ask(chance, [top], "/product/{n}", hosts=1, count=4, keys=30)
    case.ask(chance, parts, "/v1/product/{n}", hosts=1, count=3, keys=30)


def webhooks(case: Plan, chance: random.Random) -> None:
    subscribers = case.leaves("subscriber", chance.randint(3, 5))
    dispatcher = case.add("dispatcher", "dispatch", services=subscribers)
    case.ask(chance, [dispatcher], "/hook/{n}", posts=1)


def leaving(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", base=0.05, jitter=chance.uniform(0.02, 0.06))
    host = case.add("nat", "user")
    usual: Node = {"node": host, "to": [app], "until": 7.0, "each": 0.25, "agent": BROWSER}
    case.users = [
        {**usual, "name": "pages", "path": "/page/{n}", "count": 6, "parts": 4, "leaves": 0.2, "accept": "text/html"},
        {**usual, "name": "calls", "path": "/api/{n}", "count": 5, "agent": AGENTS[0]},
    ]


def feed(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", feed=chance.choice((0.7, 1.1)))
    case.ask(chance, [app], "/events/{n}", hosts=3, count=3, keys=1, each=0.01)


def short_queue(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", 2, base=0.06, jitter=0.002)
    gate = case.add("gate", "proxy", services=apps)
    case.ask(chance, [gate], "/item/{n}", hosts=3, count=8, each=0.1)


def enough_workers(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", base=0.02, jitter=0.001, threads=24, slow_paths=["/report", 0.8])
    case.ask(chance, [app], "/report/{n}", hosts=1, count=6, each=0.05)
    case.ask(chance, [app], "/api/{n}", hosts=2, count=3, each=0.1)


def closing(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", idle=1)
    case.ask(chance, [app], "/item/{n}", hosts=2, count=8, each=2.4, until=9.0)
    for user in case.users:
        case.nodes[user["node"]]["notices"] = True


def patient(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", rate=30)
    middle = case.add("middle", "stubborn", services=[app], tries=4, between=1.1)
    case.ask(chance, [middle], "/order/{n}", count=6)


def merged_fan(case: Plan, chance: random.Random) -> None:
    parts = case.leaves("part", 3)
    top = case.add("top", "fan", services=parts, path="/product")
    case.ask(chance, [top], "/page/{n}", hosts=1, count=5)
    case.capture_on([top, "part0"], chance, skewed=chance.random() < 0.5)


def layers(case: Plan, chance: random.Random) -> None:
    stores = case.leaves("store", 2)
    parts = [case.add(f"part{n}", "fan", services=stores, path=f"/row{n}") for n in range(3)]
    top = case.add("top", "fan", services=parts, path="/product", forward=chance.choice(([], ["id"])))
    case.ask(chance, [top], "/page/{n}", hosts=2, count=3, ids=True)


def same_path_fan(case: Plan, chance: random.Random) -> None:
    parts = case.leaves("part", chance.randint(2, 4), even=chance.random() < 0.5)
    top = case.add("top", "fan", services=parts, same=True, forward=chance.choice(([], ["id"])))
    case.ask(chance, [top], "/item/{n}", hosts=2, count=4, ids=True)


def one_burst(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", base=0.01, idle=1)
    case.ask(chance, [app], "/item/{n}", hosts=2, count=14, each=2.5, spread=0.02, until=4.0)
