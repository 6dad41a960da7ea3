"""Describe a network of services: its nodes, its users, where it is captured, and what a report must say of it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

Node = dict[str, Any]

AGENTS = ("shop/1.4", "python-requests/2.31.0", "okhttp/4.12.0", "Go-http-client/1.1")
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


@dataclass
class Plan:
    """A network of services.

    `meant`: what must be found, as lists [rule, kind or "", server's node or ""]; `allowed`: rules that may speak, too.
    `local`: all nodes are on 127.0.0.1. `scale` multiplies the users. `captured`: the nodes on whose hosts it is captured, merged
    afterwards, if it is not captured on the bridge; `clocks`: the error (s) of each one's clock. `only`: a capture filter.
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
    scale: int = 1
    captured: list[str] = field(default_factory=list[str])
    clocks: list[float] = field(default_factory=list[float])
    only: str = "tcp"

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
        """Add users on `hosts` hosts, `count` on each (times `scale`), who ask the nodes `to`."""
        for _ in range(hosts):
            node = self.add(f"user{len(self.users)}", "user")
            usual = {"each": 0.15, "until": 6.0, "agent": chance.choice(AGENTS)}
            self.users.append({"name": node, "node": node, "to": to, "path": path, "count": count * self.scale, **usual, **more})

    def capture_on(self, nodes: list[str], chance: random.Random, *, skewed: bool = False) -> None:
        """Capture on the hosts of these nodes, whose clocks differ by 0.05 to 2 ms, or by 3 to 1,500 ms if `skewed`."""
        least, most = (0.003, 1.5) if skewed else (0.00005, 0.002)
        self.captured = nodes
        self.clocks = [0.0, *(chance.choice((-1, 1)) * least * (most / least) ** chance.random() for _ in nodes[1:])]
