"""Choose at random what happens in a recording of races.py: a pool meets a server's idle timeout, or its processes end."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from race_servers import SERVERS

PROXIES = ("nginx", "haproxy", "apache", "caddy")
TRIPS = (0.0, 0.0, 0.0, 0.0, 0.001, 0.005, 0.02, 0.06, 0.15)
"""Round trips in seconds; 0 is a veth pair, or the loopback interface."""

BEHIND = ("gunicorn", "uvicorn", "node", "node-silent", "nginx", "apache", "go", "java", "tomcat", "jetty")
SOFTWARE_OF_CRASHES = (
    *("gunicorn", "gunicorn-sync", "uvicorn", "node", "node-silent", "go", "java", "tomcat", "jetty", "nginx", "apache-prefork"),
)
CLOSES_SOON = ("soon", "gunicorn-sync")
"""Servers that close after each response: `soon` without an announcement, gunicorn's sync worker with `Connection: close`."""

LIBRARIES = (
    *("requests", "node", "go", "httpx", "aiohttp", "undici", "java"),
    *("okhttp", "httpclient4", "httpclient5", "dotnet", "net-http-persistent", "excon", "guzzle", "reqwest"),
)
PYTHON = ("gunicorn", "gunicorn-sync", "uvicorn")
LONG = 75.0
"""An idle timeout in seconds that no connection reaches."""


@dataclass
class Plan:
    """A recording: the server, its idle timeout, the round trip, the client (`pool`, or a proxy), and what the pool does."""

    name: str
    family: str
    server: str
    limit: float
    rtt: float
    at: tuple[str, ...]
    proxy: str = ""
    client: str = "pool"
    """The client: `pool` for peers/timed_pool.py, or the name of a library with its own pool."""

    workers: int = 1
    more: tuple[str, ...] = ()
    how: str = ""
    pool: dict[str, Any] = field(default_factory=dict[str, Any])


def race(number: int, seed: int) -> Plan:
    """Plan a pool or a proxy whose requests arrive when the server's idle timeout expires."""
    chance = random.Random(f"{seed}-race-{number}")
    names = [*BEHIND, *CLOSES_SOON]
    server = names[number % len(names)]
    proxy = chance.choice(PROXIES) if chance.random() < 0.4 and server not in CLOSES_SOON else ""
    known = SERVERS[server]
    limit = chance.choice(known.limits)
    rtt = chance.choice(TRIPS if server not in CLOSES_SOON else TRIPS[:5])
    at = ("loopback",) if rtt == 0.0 and not proxy and chance.random() < 0.4 else ("client", "server")
    pool: dict[str, Any] = {
        "aim": limit,
        "spread": known.spread,
        "stride": known.stride,
        "groups": chance.choice(([20], [12, 12], [6] * 5, [2] * 10, [1] * 16)),
        "seconds": 40.0 if not proxy else 45.0,
        "body": chance.choice((0, 0, 0, 40)),
        "agent": chance.choice(("", "python-requests/2.31.0", "Go-http-client/1.1", "Java-http-client/17.0.9")),
        "settle": chance.choice((0.05, 0.15, 0.4)),
    }
    if server in ("gunicorn", "uvicorn", "node", "node-silent", "go"):
        pool["busy"] = chance.choice((0, 20, 40, 60))
    if proxy:
        pool |= {"groups": [chance.choice((8, 16, 24))], "at_once": True}
        pool |= {"paths": [["/slow/15", 1]]} if server not in ("nginx", "apache") else {}
    if server in CLOSES_SOON:
        pool |= {
            "aim": 0.0,
            "rests": [0.0, 0.004],
            "together": False,
            "chain": True,
            "settle": 0.02,
            "again": 0.4,
            "seconds": 15.0,
            "heedless": True,
        }
    return Plan(f"race-{number}", "race", server, limit, rtt, at, proxy, pool=pool)


def crash(number: int, seed: int) -> Plan:
    """Plan a pool whose server's processes are killed, restarted, recycled, or end in a handler, after random or equal idle
    times.
    """
    chance = random.Random(f"{seed}-crash-{number}")
    server = SOFTWARE_OF_CRASHES[number % len(SOFTWARE_OF_CRASHES)]
    equal = chance.random() < 0.5
    limit = chance.choice((LONG, LONG, 3.0, 4.0))
    rtt = chance.choice(TRIPS)
    at = ("loopback",) if rtt == 0.0 and chance.random() < 0.4 else ("client", "server")
    hows = ["kill -9", "kill -9", "SIGTERM", "die"]
    if server in PYTHON:
        hows += ["recycle"] if server == "uvicorn" else ["recycle", "restart"]
    if server in ("nginx", "apache-prefork"):
        hows = ["kill -9", "SIGTERM", "restart"]
    how = chance.choice(hows)
    workers = chance.choice((1, 2, 4, 8)) if server in (*PYTHON, "node", "node-silent", "nginx") else 1
    paths = [["/bytes/20", 6], [f"/slow/{chance.choice((5, 30, 100))}", 4]]
    if server in (*PYTHON, "node", "node-silent", "go"):
        paths.append([f"/work/{chance.choice((5, 20, 60))}", chance.choice((1, 4))])
    if how == "die":
        died = chance.choice(("die", "shot")) if server not in ("java", "tomcat", "jetty") else "die"
        share = chance.choice((0.05, 0.2, 0.5))
        paths += [[f"/{died}/0", share], [f"/{died}/{chance.choice((1, 3, 20, 150))}", share]]
    rests = [2.0, 2.0] if equal else [0.3, chance.choice((2.5, 5.0))]
    if limit < LONG and not equal:
        rests[1] = limit + 0.5
    pool: dict[str, Any] = {
        "rests": rests,
        "together": chance.random() < 0.6,
        "scatter": chance.choice((0.0, 0.005, 0.03, 0.3)),
        "groups": chance.choice(([20], [10, 10], [4] * 5, [2] * 8, [1] * 12)),
        "seconds": 45.0,
        "paths": paths,
        "body": chance.choice((0, 0, 0, 40)),
        "agent": chance.choice(("", "python-requests/2.31.0", "Go-http-client/1.1")),
        "left": chance.choice((0.0, 0.0, 0.1)),
        "kill_share": 0.0 if how in ("die", "recycle") else chance.choice((0.3, 0.8)),
        "kill_after": [0.0, chance.choice((0.003, 0.01, 0.05))],
        "kill_all": how == "SIGTERM" or chance.random() < 0.3,
        "signal": {"kill -9": "SIGKILL", "SIGTERM": "SIGTERM", "restart": "SIGHUP"}.get(how, ""),
        "kill_parent": how == "restart",
        "how": how,
    }
    if how == "kill -9" and server in (*PYTHON, "node", "node-silent") and chance.random() < 0.6:
        pool |= {"stuck": 400, "kill_after": [0.01, chance.choice((0.05, 0.3))], "kill_all": True}
    more: tuple[str, ...] = ()
    if how == "recycle":
        words = "--limit-max-requests" if server == "uvicorn" else "--max-requests"
        more = (words, str(chance.choice((20, 40))))
    if server == "apache-prefork" and how == "restart":
        pool["signal"] = "SIGHUP"
    return Plan(f"crash-{number}", "crash", server, limit, rtt, at, "", "pool", workers, more, how, pool)


def purpose(number: int, seed: int) -> Plan:
    """Plan an application that deliberately closes or resets at some requests, whatever the idle time."""
    chance = random.Random(f"{seed}-purpose-{number}")
    server, ends = (("node", ("reset", "hangup")), ("nginx", ("hangup",)), ("go", ("thrown",)), ("node-silent", ("reset",)))[
        number % 4
    ]
    equal = chance.random() < 0.5
    rtt = chance.choice(TRIPS)
    limit = chance.choice((LONG, 3.0))
    paths = [["/bytes/20", 6]] + [[f"/{end}/{chance.choice((0, 0, 5, 100)) if server != 'nginx' else 0}", 2] for end in ends]
    pool: dict[str, Any] = {
        "rests": [2.0, 2.0] if equal else [0.3, 3.5],
        "together": True,
        "scatter": chance.choice((0.0, 0.03)),
        "groups": chance.choice(([10], [2] * 5, [1] * 8)),
        "seconds": 30.0,
        "paths": paths,
        "left": chance.choice((0.0, 0.1)),
        "kill_share": 0.0,
        "agent": "python-requests/2.31.0",
    }
    return Plan(f"purpose-{number}", "purpose", server, limit, rtt, ("client", "server"), how="closed on purpose", pool=pool)


def library(number: int, seed: int) -> Plan:
    """Plan a library's pool whose requests arrive when the server's idle timeout expires."""
    chance = random.Random(f"{seed}-library-{number}")
    servers = ("gunicorn", "node-silent", "go", "node", "uvicorn", "jetty", "nginx", "apache")
    client, server = LIBRARIES[number % len(LIBRARIES)], servers[number % len(servers)]
    limit = chance.choice(SERVERS[server].limits)
    pool = {
        "aim": limit + (1.0 if server.startswith("node") else 0.0),
        "spread": 0.004,
        "connections": chance.choice((8, 16)),
        "seconds": 40.0,
        "busy": chance.choice((20, 50)) if server not in ("jetty", "nginx", "apache") else 0,
    }
    rtt = chance.choice(TRIPS[:6])
    return Plan(f"library-{number}", "library", server, limit, rtt, ("client", "server"), client=client, pool=pool)


FAMILIES = {"race": race, "crash": crash, "purpose": purpose, "library": library}


def planned(name: str, seed: int) -> Plan:
    """Return the plan of the recording with this name."""
    family, _, number = name.partition("-")
    return FAMILIES[family](int(number), seed)
