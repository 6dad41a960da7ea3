"""Choose networks of services behind gateways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service_shapes import Plan

if TYPE_CHECKING:
    import random


def plain_proxy(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", chance.randint(1, 3), base=0.008)
    forward = chance.choice(([], ["xff"], ["id"]))
    gate = case.add("gate", "proxy", services=apps, forward=forward)
    case.ask(chance, [gate], "/api/item/{n}", ids="id" in forward, posts=0.2)


def rewriting(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", 2, base=0.008)
    gate = case.add("gate", "proxy", services=apps, strip="/api", prefix="/v1")
    case.ask(chance, [gate], "/api/item/{n}")


def two_in_a_row(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", 2, base=0.008)
    inner = case.add("inner", "proxy", services=apps)
    outer = case.add("outer", "proxy", services=[inner])
    case.ask(chance, [outer], "/order/{n}", posts=0.3)


def retrying(case: Plan, chance: random.Random) -> None:
    apps = [case.add("bad", "leaf", fails=(0.3, 503)), *case.leaves("app", 2)]
    gate = case.add("gate", "proxy", services=apps, again=1)
    case.ask(chance, [gate], "/order/{n}")
    case.meant = [["failing-sibling", "", "bad"]]


def local_proxy(case: Plan, chance: random.Random) -> None:
    case.local = True
    apps = case.leaves("app", 2, base=0.008)
    gate = case.add("gate", "proxy", services=apps, forward=chance.choice(([], ["id"])))
    case.ask(chance, [gate], "/item/{n}", hosts=1, count=5, ids=True)


def before_fan(case: Plan, chance: random.Random) -> None:
    parts = case.leaves("part", 3)
    top = case.add("top", "fan", services=parts, path="/product")
    gate = case.add("gate", "proxy", services=[top])
    case.ask(chance, [gate], "/page/{n}")


def nginx(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", chance.randint(1, 3), base=0.008)
    gate = case.add("gate", "nginx", services=apps, port=80, strip=chance.choice(("", "/api")))
    case.ask(chance, [gate], "/api/item/{n}", lab=True, posts=0.2)


def nginx_before_proxy(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", 2, base=0.008)
    inner = case.add("inner", "proxy", services=apps)
    gate = case.add("gate", "nginx", services=[inner], port=80)
    case.ask(chance, [gate], "/item/{n}", lab=True)


def asking_auth(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", 1, base=0.008)
    auth = case.add("auth", "leaf", base=0.003, even=True)
    gate = case.add("gate", "nginx", services=apps, port=80, auth=auth)
    case.ask(chance, [gate], "/item/{n}", lab=True)


def caching(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", 2, base=0.008, even=True)
    gate = case.add("gate", "proxy", services=apps, cached=chance.uniform(0.3, 0.8))
    case.ask(chance, [gate], "/item/{n}", keys=40)


def mirror(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", 1, base=0.008)
    shadow = case.add("shadow", "leaf", base=0.02)
    gate = case.add("gate", "nginx", services=apps, port=80, mirror=shadow)
    case.ask(chance, [gate], "/item/{n}", lab=True)


def sidecars(case: Plan, chance: random.Random) -> None:
    app = case.add("app", "leaf", port=8080, loop=True, base=0.008)
    inner = case.add("inner", "proxy", 0, services=[app], port=15006)
    outer = case.add("outer", "proxy", services=[inner], port=15001, loop=True)
    front = case.add("front", "fan", case.hosts - 1, services=[outer], path="/product", port=8081)
    case.ask(chance, [front], "/page/{n}", hosts=1, count=5)
    case.capture_on([outer, app], chance, skewed=chance.random() < 0.3)


def merged(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", 2, base=0.008)
    gate = case.add("gate", "proxy", services=apps, forward=chance.choice(([], ["xff"], ["id"])))
    case.ask(chance, [gate], "/item/{n}", ids=True)
    case.capture_on([gate, *apps], chance)


def merged_nginx(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", 1, base=0.008)
    gate = case.add("gate", "nginx", services=apps, port=80)
    case.ask(chance, [gate], "/api/item/{n}", lab=True)
    case.capture_on([gate, *apps], chance)


def skewed(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", 1, base=0.008)
    gate = case.add("gate", "proxy", services=apps)
    case.ask(chance, [gate], "/item/{n}")
    case.capture_on([gate, *apps], chance, skewed=True)


def closing_nginx(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", 2, base=0.008)
    gate = case.add("gate", "nginx", services=apps, port=80, closing=True)
    case.ask(chance, [gate], "/item/{n}", lab=True)


def same_targets(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", 3, base=0.012)
    gate = case.add("gate", "proxy", services=apps)
    case.ask(chance, [gate], "/item/{n}", keys=3, count=6, hosts=3)


def local_nginx(case: Plan, chance: random.Random) -> None:
    case.local = True
    apps = case.leaves("app", 2, base=0.008)
    inner = case.add("inner", "proxy", services=apps, prefix=chance.choice(("", "/v1")))
    gate = case.add("gate", "nginx", services=[inner])
    case.ask(chance, [gate], "/item/{n}", hosts=1, lab=True)


def two_users(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", 2, base=0.008)
    gate = case.add("gate", "proxy", services=apps, forward=chance.choice(([], ["xff"])))
    case.ask(chance, [gate], "/item/{n}", hosts=1, keys=20, count=8, each=0.08)


def services_of_two_gateways(case: Plan, chance: random.Random) -> None:
    apps = case.leaves("app", 2, base=0.008)
    gates = [case.add(f"gate{n}", "proxy", services=apps) for n in range(2)]
    case.ask(chance, gates, "/item/{n}", keys=60)
