"""Uses connections again at the idle limit of their server, or at rests of its own, and ends processes: timed_pool.py PLAN.

PLAN is a JSON file. Connections stand in groups; a group asks at once, rests, asks again, and so on. With `aim` the rest is that
after which the server closes: learned from the closes of the first round, then followed, so that half of the requests come
too late. The answers say in `X-Port` which connection they came over, so that this works through a proxy, too. With `rests` the
rest is drawn between two times, or always the same. With `heedless` it uses a connection again although an answer said that it
would be closed. After a request a share of the rounds ends a child of `parent`, by a
signal. Says as JSON, a line each, which processes it ended and when, and at last how many requests were answered.
"""

import contextlib
import heapq
import itertools
import json
import os
import random
import selectors
import signal
import socket
import statistics
import sys
import time
from pathlib import Path

PATIENCE = 3.0
"""Seconds that an answer may take."""

STEP = 0.0004
"""By which the aim moves after each request, in seconds."""


class Connection:
    """One connection of the pool, or its place while there is none."""

    def __init__(self, pool, group):
        self.pool, self.group = pool, group
        self.socket = None
        self.asked = self.answered = None
        self.got, self.path = b"", ""

    def open(self):
        """Begins a handshake; the request follows it."""
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex(self.group.where)
        self.got, self.answered, self.asked = b"", None, None
        self.pool.selector.register(self.socket, selectors.EVENT_WRITE, self)

    def close(self):
        if self.socket:
            self.pool.selector.unregister(self.socket)
            self.socket.close()
        self.socket = self.asked = None

    def ask(self, path=""):
        """Sends a request, whether the connection is still good or not: a pool cannot know."""
        if self.asked:
            return
        self.path = path or ("" if self.answered and self.socket else "/bytes/20")
        if not self.socket:
            self.open()
            self.asked = time.monotonic()
        elif self.answered:
            self.send()

    def send(self):
        self.asked = time.monotonic()
        try:
            self.socket.send(self.pool.request(self.path))
        except OSError:
            self.close()

    def ready(self, events):
        if events & selectors.EVENT_WRITE:
            self.pool.selector.modify(self.socket, selectors.EVENT_READ, self)
            self.send()
            return
        try:
            data = self.socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.ended()
            return
        self.got += data
        head, end, body = self.got.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        fields = dict(line.split(b":", 1) for line in lines[1:] if b":" in line)
        length = int(fields.get(b"content-length", b"0"))
        if not end or len(body) < length:
            return
        known = self.pool.ports
        port = fields.get(b"x-port", b"").strip().decode()
        if self.group.aimed and self.asked and self is not self.group.hog:
            self.pool.follow(port in known and lines[0].split(b" ")[1] == b"200")
        known.add(port)
        self.pool.counts["answered" if lines[0].split(b" ")[1] < b"500" else "failed"] += 1
        self.got, self.answered, self.asked = b"", time.monotonic(), None
        if fields.get(b"connection", b"").strip() == b"close" and not self.pool.plan.get("heedless"):
            self.close()
        elif self.pool.plan.get("chain") and self.socket:
            here = self.socket
            self.pool.at(self.pool.chance.uniform(*self.pool.plan["rests"]), lambda: self.ask() if self.socket is here else None)

    def ended(self):
        if self.asked:
            self.pool.counts["lost"] += 1
            if self.group.aimed and self is not self.group.hog:
                self.pool.follow(False)
        elif self.answered:
            rest = time.monotonic() - self.answered
            self.pool.counts["closed"] += 1
            if self.group.learning:
                self.pool.rests.append(rest)
        self.close()


class Group:
    """Connections that ask at the same time."""

    def __init__(self, pool, size, where):
        self.pool, self.where = pool, where
        self.connections = [Connection(pool, self) for _ in range(size)]
        self.aimed = self.learning = False
        self.hog = Connection(pool, self)

    def learn(self):
        """All ask, and rest until the server closes."""
        self.learning = True
        for connection in self.connections:
            connection.ask()

    def first(self):
        """All that are closed are opened, and all ask; later they ask again."""
        plan = self.pool.plan
        self.aimed = False
        for connection in self.connections:
            if connection.asked and time.monotonic() - connection.asked > PATIENCE:
                connection.close()
            connection.ask()
        self.pool.at(plan.get("settle", 0.15) + plan.get("rtt", 0.0) * 2, self.rest)

    def rest(self):
        plan, chance = self.pool.plan, self.pool.chance
        self.aimed = bool(plan.get("aim"))
        now = time.monotonic()
        last = 0.0
        low, high = plan.get("rests", (1.0, 1.0))
        together = chance.uniform(low, high)
        common = chance.uniform(-1, 1) * plan.get("spread", 0.0)
        middle = statistics.median([c.answered or now for c in self.connections])
        for connection in self.connections:
            since = connection.answered or now
            if self.aimed and plan.get("at_once"):
                since, rest = middle, self.pool.aim + common
            elif self.aimed:
                rest = self.pool.aim + chance.uniform(-1, 1) * plan["spread"]
            else:
                rest = (together if plan.get("together", True) else chance.uniform(low, high)) + chance.uniform(
                    0, plan.get("scatter", 0.0)
                )
            if chance.random() < plan.get("left", 0.0):
                continue
            due = max(0.0, since + rest - now)
            self.pool.at(due, connection.ask if connection.socket or not self.aimed else lambda: None)
            last = max(last, due)
        if plan.get("busy") and self.aimed and chance.random() < 0.7:
            self.pool.at(
                max(0.0, last - chance.uniform(0.2, 1.3) * plan["busy"] / 1000), lambda: self.hog.ask(f"/work/{plan['busy']}")
            )
        if chance.random() < plan.get("kill_share", 0.0):
            if plan.get("stuck"):
                self.pool.at(max(0.0, last - 0.01), lambda: self.hog.ask(f"/work/{plan['stuck']}"))
            self.pool.at(last + chance.uniform(*plan["kill_after"]), self.pool.kill)
        again = plan.get("again", 0.3) + plan.get("rtt", 0.0) * 2
        self.pool.at(last + again, self.first if self.aimed or plan.get("doubled") else self.rest)


class Pool:
    def __init__(self, plan):
        self.plan = plan
        self.chance = random.Random(plan["seed"])
        self.selector = selectors.DefaultSelector()
        self.agenda, self.turn = [], itertools.count()
        self.rests, self.ports, self._aim = [], set(), None
        self.counts = dict.fromkeys(("answered", "failed", "lost", "closed"), 0)
        self.number = 0

    @property
    def aim(self):
        if self._aim is None:
            self._aim = statistics.median(self.rests or [self.plan["aim"]]) - self.plan.get("rtt", 0.0)
        return self._aim

    def follow(self, early):
        """A request was early enough, or too late."""
        low, high = 0.6 * self.plan["aim"], 1.1 * self.plan["aim"] + 1.2
        self._aim = min(max(self.aim + (STEP if early else -STEP) * self.plan.get("stride", 1), low), high)

    def at(self, delay, what):
        heapq.heappush(self.agenda, (time.monotonic() + delay, next(self.turn), what))

    def request(self, path):
        self.number += 1
        paths = dict(self.plan.get("paths", [["/bytes/20", 1]]))
        path = path or self.chance.choices(list(paths), list(paths.values()))[0]
        agent = f"User-Agent: {self.plan['agent']}\r\n" if self.plan.get("agent") else ""
        body = "x" * self.plan.get("body", 0)
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        method = "POST" if body else "GET"
        number = f"?{self.number}" if self.plan.get("numbered", True) else ""
        return f"{method} {path}{number} HTTP/1.1\r\nHost: www\r\n{agent}{length}\r\n{body}".encode()

    def kill(self):
        """Ends a child of the parent, or all of them, or tells the parent to restart them."""
        plan = self.plan
        pids = [plan["parent"]] if plan.get("kill_parent") else children(plan["parent"])
        if not pids:
            return
        for pid in pids if plan.get("kill_all") else [self.chance.choice(pids)]:
            print(json.dumps({"time": time.time(), "pid": pid, "how": plan["how"]}), flush=True)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, getattr(signal, plan["signal"]))

    def run(self):
        plan = self.plan
        learning = plan["aim"] * 2.2 + 1.2 if plan.get("aim") else 0.0
        if learning:
            self.at(0, Group(self, 5, tuple(plan["behind"])).learn)
        for size in plan["groups"]:
            group = Group(self, size, (plan["address"], plan["port"]))
            self.at(learning + self.chance.uniform(0, plan.get("apart", 0.5)), group.first)
        deadline = time.monotonic() + learning + plan["seconds"]
        while time.monotonic() < deadline:
            wait = self.agenda[0][0] - time.monotonic() if self.agenda else 0.1
            if wait > 0:
                for key, events in self.selector.select(min(wait, 0.5) if wait > 0.0008 else 0):
                    key.data.ready(events)
                continue
            heapq.heappop(self.agenda)[2]()
            for key, events in self.selector.select(0):
                key.data.ready(events)
        self.drain()
        print(json.dumps(self.counts | {"aim": self._aim, "rests": self.rests}), flush=True)

    def drain(self):
        """Waits for the answers that are still to come."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and any(key.data.asked for key in self.selector.get_map().values()):
            for key, events in self.selector.select(0.1):
                key.data.ready(events)


def children(parent):
    """The workers of a process; none while it ends."""
    try:
        text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
        return [int(pid) for pid in text.split() if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()]
    except OSError:
        return []


Pool(json.loads(Path(sys.argv[1]).read_text())).run()
