"""Run the services and users of a plan in one process, each with sockets in its own namespace, and log who called whom.

Nothing on the wire shows the log. A service is a node of a plan (service_plans.py); `do` names what it does with a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from service_hosts import socket_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Node = dict[str, Any]
Place = tuple[str, str, int]
"""A request: client and server (address:port), and its index on the connection."""


@dataclass
class Asked:
    """A request as a service received it."""

    place: Place
    method: str
    target: str
    fields: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter


@dataclass
class Answer:
    """A response. `status` 0: none; the connection is closed. `stalls`: the seconds of rest in the middle of the body."""

    status: int
    body: bytes = b""
    fields: dict[str, str] = field(default_factory=dict[str, str])
    stalls: float = 0.0


@dataclass
class Connection:
    """A connection of a client."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    client: str
    server: str
    sent: int = 0


class Network:
    """The nodes of a plan while they run. `log`: a row for each request that was sent, written by its sender or receiver."""

    def __init__(self, nodes: dict[str, Node], seed: str) -> None:
        self.nodes, self.chance = nodes, random.Random(seed)
        self.log = list[dict[str, Any]]()
        self.turn = defaultdict[str, int](int)
        self.idle = defaultdict[tuple[str, str], list[Connection]](list)
        self.open = defaultdict[tuple[str, str], int](int)
        self.doors: dict[tuple[str, str], asyncio.Semaphore] = {}
        self.threads: dict[str, asyncio.Semaphore] = {}
        self.workers = defaultdict[str, asyncio.Lock](asyncio.Lock)
        self.failing = defaultdict[str, float](float)
        self.admitted = defaultdict[str, float](float)
        self.stored = dict[str, Answer]()
        self.kept = list[Connection]()
        self.watches = list[asyncio.Task[None]]()
        self.left = list[asyncio.StreamWriter]()
        self.served = defaultdict[str, set[asyncio.StreamWriter]](set)
        self.began = time.monotonic()

    # ---- servers

    async def serve(self, name: str) -> asyncio.Server:
        node = self.nodes[name]
        listening = socket_in(node["netns"])
        listening.bind((node["address"], node["port"]))

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.served[name].add(writer)
            try:
                async with self.workers[name] if node.get("one_by_one") else _Open():
                    await self._talk(name, reader, writer)
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                self.served[name].discard(writer)
                if node.get("leaks"):
                    self.left.append(writer)
                else:
                    writer.close()

        return await asyncio.start_server(talk, sock=listening, backlog=512)

    async def _talk(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        node, ends = self.nodes[name], [writer.get_extra_info(what) for what in ("peername", "sockname")]
        client, server = (f"{host}:{port}" for host, port in ends)
        for index in range(1_000_000):
            try:
                async with asyncio.timeout(node.get("idle")):
                    head = await reader.readuntil(b"\r\n\r\n")
            except TimeoutError:
                return
            method, target, fields = _request_of(head)
            body = await reader.readexactly(int(fields.get("content-length", 0)))
            asked = Asked((client, server, index), method, target, fields, body, writer)
            if key := fields.get("x-lab"):
                self.log.append({"place": asked.place, "lab": key, "node": name})
            answer = await BEHAVIORS[node["do"]](self, name, asked)
            await self._paused(node)
            if not answer.status:
                return
            if node.get("idle"):
                answer.fields["Keep-Alive"] = f"timeout={round(node['idle'])}"
            await _write(writer, answer)
            if node.get("closes"):
                return

    async def _paused(self, node: Node) -> None:
        if not node.get("pauses"):
            return
        every, long = node["pauses"]
        since = (time.monotonic() - self.began) % every
        if every - long <= since:
            await asyncio.sleep(every - since)

    # ---- clients

    async def ask(
        self, name: str, to: str, method: str, target: str, fields: dict[str, str], body: bytes = b"", **more: Any
    ) -> Answer:
        """Send a request from one node to another, and log it. Raise OSError if there is no answer, TimeoutError if it is late.

        `parent`: the request for which it is made; `forwards`: whether a gateway passes it on; `timeout`: in seconds;
        `user`: the number of the user whose connections are used.
        """
        node = self.nodes[name]
        pool = (f"{name}#{more.get('user', '')}", to)
        if node.get("most") and pool not in self.doors:
            self.doors[pool] = asyncio.Semaphore(node["most"])
        async with self.doors[pool] if node.get("most") else _Open():
            return await self._ask(pool, method, target, fields, body, more)

    async def _ask(
        self, pool: tuple[str, str], method: str, target: str, fields: dict[str, str], body: bytes, more: Any
    ) -> Answer:
        name, to = pool[0].partition("#")[0], pool[1]
        node = self.nodes[name]
        parent: Place | None = more.get("parent")
        row: dict[str, Any] = {"place": None, "parent": parent, "forwards": more.get("forwards", False), "from": name, "to": to}
        row["lab"] = more.get("lab")
        self.log.append(row)
        try:
            async with asyncio.timeout(more.get("timeout")):
                used = await self._connection(pool)
                row["place"] = (used.client, used.server, used.sent)
                row["got"] = "left"
                used.sent += 1
                length = {"Content-Length": str(len(body))} if body else {}
                head = {"Host": used.server, **fields, **length}
                text = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{key}: {value}\r\n" for key, value in head.items())
                try:
                    used.writer.write(text.encode() + b"\r\n" + body)
                    answer = await _answer(used.reader)
                except BaseException:
                    used.writer.close()
                    raise
        except TimeoutError:
            row["got"] = "late"
            raise
        except (OSError, asyncio.IncompleteReadError) as why:
            row["got"] = "refused" if isinstance(why, ConnectionRefusedError) else "closed"
            raise OSError(str(why)) from why
        row["got"] = answer.status
        if node.get("notices"):
            self.watches.append(asyncio.create_task(_close_with(used)))
        if node.get("reuses", True) and not self.nodes[to].get("closes") and used.sent < node.get("uses", 1_000_000):
            self.idle[pool].append(used)
        elif node.get("leaks"):
            self.kept.append(used)
        else:
            used.writer.close()
        return answer

    async def _connection(self, pool: tuple[str, str]) -> Connection:
        while self.idle[pool]:
            one = self.idle[pool].pop()
            if not one.reader.at_eof():
                return one
            if self.nodes[pool[0].partition("#")[0]].get("leaks"):
                self.kept.append(one)
            else:
                one.writer.close()
        node, target = self.nodes[pool[0].partition("#")[0]], self.nodes[pool[1]]
        made = socket_in(node["netns"])
        try:
            await asyncio.get_running_loop().sock_connect(made, (target["address"], target["port"]))
        except BaseException:
            made.close()
            raise
        client, server = (f"{host}:{port}" for host, port in (made.getsockname(), made.getpeername()))
        reader, writer = await asyncio.open_connection(sock=made)
        return Connection(reader, writer, client, server)


async def _close_with(one: Connection) -> None:
    """Close a connection soon after the server has closed it."""
    while not one.reader.at_eof() and not one.writer.is_closing():
        await asyncio.sleep(0.02)
    one.writer.close()


class _Open:
    async def __aenter__(self) -> None: ...
    async def __aexit__(self, *_: object) -> None: ...


def _request_of(head: bytes) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.decode().rstrip().split("\r\n")
    method, target, _ = first.split(" ")
    return method, target, {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


async def _write(writer: asyncio.StreamWriter, answer: Answer) -> None:
    head = {"Content-Type": "application/json", **answer.fields}
    text = f"HTTP/1.1 {answer.status} Status\r\n" + "".join(f"{key}: {value}\r\n" for key, value in head.items())
    body = b"" if answer.status == 304 else answer.body
    length = "" if answer.status == 304 else f"Content-Length: {len(body)}\r\n"
    if answer.stalls:
        half = len(body) // 2
        writer.write(text.encode() + length.encode() + b"\r\n" + body[:half])
        await asyncio.sleep(answer.stalls)
        writer.write(body[half:])
    else:
        writer.write(text.encode() + length.encode() + b"\r\n" + body)
    await writer.drain()


async def _answer(reader: asyncio.StreamReader) -> Answer:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    if length:
        return Answer(status, await reader.readexactly(int(length[1])))
    body = b""
    while re.search(rb"transfer-encoding: *chunked", head, re.IGNORECASE):
        size = int((await reader.readuntil(b"\r\n")).strip(), 16)
        body += (await reader.readexactly(size + 2))[:-2]
        if not size:
            break
    return Answer(status, body)


# ---- what services do


async def _leaf(network: Network, name: str, asked: Asked) -> Answer:
    """Answer alone: after `base` seconds, `jitter`, at times `tail`; fail, drop or refuse as the node says."""
    node, chance = network.nodes[name], network.chance
    if rate := node.get("rate"):
        now = time.monotonic()
        if now < network.admitted[name]:
            return Answer(429, b'{"error": "too many requests"}', {"Retry-After": "1"})
        network.admitted[name] = max(now, network.admitted[name]) + 1 / rate
    took = node.get("base", 0.004) + chance.expovariate(1 / node.get("jitter", 0.003))
    part, tail = node.get("tail", (0, 0))
    took = tail if chance.random() < part else took
    if every := node.get("feed"):
        took = every - (time.monotonic() - network.began) % every
    took = node["slow_paths"][1] if node.get("slow_paths") and asked.target.startswith(node["slow_paths"][0]) else took
    if count := node.get("threads"):
        async with network.threads.setdefault(name, asyncio.Semaphore(count)):
            await asyncio.sleep(took)
    else:
        await asyncio.sleep(took)
    share, status = node.get("fails", (0, 0))
    if chance.random() < share:
        return Answer(status, b'{"error": "failed"}')
    if chance.random() < node.get("drops", 0):
        return Answer(0)
    size = node.get("size", 300) if node.get("even") else chance.randrange(20, node.get("size", 300) + 21)
    if "if-none-match" in asked.fields and chance.random() < 0.9:
        return Answer(304, fields={"ETag": asked.fields["if-none-match"]})
    share, rest = node.get("stalls", (0, 0))
    stalls = rest if chance.random() < share else 0.0
    return Answer(200, b'{"' + b"x" * size + b'": 1}', {"ETag": '"v7"'} if node.get("even") else {}, stalls)


def _passed_on(node: Node, asked: Asked) -> dict[str, str]:
    fields = {key.title(): value for key, value in asked.fields.items() if key in ("user-agent", "accept", "content-type")}
    if "id" in node.get("forward", ()) and "x-request-id" in asked.fields:
        fields["X-Request-Id"] = asked.fields["x-request-id"]
    if "xff" in node.get("forward", ()):
        fields["X-Forwarded-For"] = asked.place[0].rpartition(":")[0]
    return fields


async def _fan(network: Network, name: str, asked: Asked) -> Answer:
    """Ask all services at once for the last path segment under each one's own path (or the same path), and answer with a sum."""
    node = network.nodes[name]
    fields = _passed_on(node, asked) if node.get("forward") else {"User-Agent": "aggregator/2"}
    tail = asked.target.rpartition("/")[2]
    paths = [asked.target if node.get("same") else f"{node.get('path', '/part')}/{tail}" for _ in node["services"]]

    async def one(service: str, path: str) -> int:
        try:
            more: Node = {"parent": asked.place, "timeout": node.get("timeout")}
            return (await network.ask(name, service, "GET", path, fields, **more)).status
        except (OSError, TimeoutError):
            return 0

    statuses = await asyncio.gather(*(one(*pair) for pair in zip(node["services"], paths, strict=True)))
    good = [status for status in statuses if status and status < 500]
    if len(good) < len(statuses) and not node.get("optional"):
        return Answer(502, b'{"error": "a service failed"}')
    return Answer(200, b'{"all": "' + b"y" * network.chance.randrange(100, 900) + b'"}')


async def _proxy(network: Network, name: str, asked: Asked) -> Answer:
    """Pass a request on to one of the services, in turn; with `again`, to the next one after a failure."""
    node = network.nodes[name]
    target = asked.target.removeprefix(node["strip"]) if node.get("strip") else asked.target
    target = node.get("prefix", "") + target
    if target in network.stored and network.chance.random() < node["cached"]:
        return network.stored[target]
    answer = Answer(502, b"bad gateway")
    for _ in range(node.get("again", 0) + 1):
        network.turn[name] += 1
        service = node["services"][network.turn[name] % len(node["services"])]
        more: Node = {"parent": asked.place, "forwards": True, "timeout": node.get("timeout")}
        try:
            answer = await network.ask(name, service, asked.method, target, _passed_on(node, asked), asked.body, **more)
        except TimeoutError:
            answer = Answer(504, b"gateway timeout")
        except OSError:
            answer = Answer(502, b"bad gateway")
        if answer.status < 500:
            break
    if node.get("cached"):
        network.stored[target] = answer
    return answer


async def _dispatch(network: Network, name: str, asked: Asked) -> Answer:
    """Send the same request to all services, one after the other, and answer with 200 whatever they answer."""
    for service in network.nodes[name]["services"]:
        with contextlib.suppress(OSError):
            fields = {"User-Agent": "hooks/1", "Content-Type": "application/json"}
            await network.ask(name, service, "POST", asked.target, fields, asked.body, parent=asked.place)
    return Answer(200, b'{"sent": true}')


async def _limiter(network: Network, name: str, asked: Asked) -> Answer:
    """Pass `rate` requests on in each second, evenly, and refuse the others at once."""
    node, now = network.nodes[name], time.monotonic()
    if now < network.admitted[name]:
        return Answer(node["status"], b'{"error": "too many requests"}', {"Retry-After": "1"})
    network.admitted[name] = max(now - 0.5 / node["rate"], network.admitted[name]) + 1 / node["rate"]
    return await _proxy(network, name, asked)


async def _first_of(network: Network, name: str, asked: Asked) -> Answer:
    """Ask one service, after `after` seconds the next one; answer with the first answer, and cancel the other."""
    node = network.nodes[name]
    network.turn[name] += 1
    count = len(node["services"])
    services = [node["services"][(network.turn[name] + turn) % count] for turn in range(2)]
    fields = {"User-Agent": "hedger/1"}
    tasks = [asyncio.create_task(network.ask(name, services[0], "GET", asked.target, fields, parent=asked.place))]
    done, _ = await asyncio.wait(tasks, timeout=node["after"])
    if not done:
        tasks.append(asyncio.create_task(network.ask(name, services[1], "GET", asked.target, fields, parent=asked.place)))
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    answer = next(iter(done)).result()
    await _cancel(tasks)
    return answer


async def _quorum(network: Network, name: str, asked: Asked) -> Answer:
    """Ask all services at once; answer when `need` of them have answered, and cancel the others."""
    node = network.nodes[name]
    asks = [
        network.ask(name, one, "GET", asked.target, {"User-Agent": "leader/3"}, parent=asked.place) for one in node["services"]
    ]
    tasks = [asyncio.create_task(one) for one in asks]
    answers = list[Answer]()
    for one in asyncio.as_completed(tasks):
        answers.append(await one)
        if len(answers) >= node["need"]:
            break
    await _cancel(tasks)
    return answers[-1]


async def _cancel(tasks: list[asyncio.Task[Answer]]) -> None:
    for one in tasks:
        one.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _peer(network: Network, name: str, asked: Asked) -> Answer:
    """Answer as the owner of a key, or pass the request on to the owner."""
    node = network.nodes[name]
    key = int(asked.target.rpartition("/")[2])
    owner = node["services"][key % len(node["services"])]
    if owner == name:
        return await _leaf(network, name, asked)
    more = {"parent": asked.place, "forwards": True}
    try:
        return await network.ask(name, owner, asked.method, asked.target, _passed_on(node, asked), asked.body, **more)
    except OSError:
        return Answer(502, b"bad gateway")


async def _breaker(network: Network, name: str, asked: Asked) -> Answer:
    """Pass a request on; after five failures in a row answer 503 for one second without a try."""
    node = network.nodes[name]
    if time.monotonic() < network.failing[name]:
        return Answer(503, b'{"error": "open"}', {"Retry-After": "1"})
    answer = await _proxy(network, name, asked)
    network.turn[name + "!"] = network.turn[name + "!"] + 1 if answer.status >= 500 else 0
    if network.turn[name + "!"] >= 5:
        network.failing[name] = time.monotonic() + node.get("rest", 1.0)
        network.turn[name + "!"] = 0
    return answer


async def _stubborn(network: Network, name: str, asked: Asked) -> Answer:
    """Pass a request on, and repeat it at once after 429 or 503."""
    node = network.nodes[name]
    answer = Answer(502)
    for _ in range(node["tries"]):
        answer = await network.ask(
            name, node["services"][0], asked.method, asked.target, _passed_on(node, asked), parent=asked.place, forwards=True
        )
        if answer.status not in (429, 503):
            return answer
        await asyncio.sleep(node.get("between", 0.02))
    return answer


BEHAVIORS: dict[str, Callable[[Network, str, Asked], Awaitable[Answer]]] = {
    "leaf": _leaf,
    "fan": _fan,
    "proxy": _proxy,
    "hedge": _first_of,
    "quorum": _quorum,
    "peer": _peer,
    "breaker": _breaker,
    "stubborn": _stubborn,
    "dispatch": _dispatch,
    "limiter": _limiter,
}


LATE = 0.2
"""The seconds by which a busy machine may delay the services; more is a pause of all of them that nobody planned."""


async def run(network: Network, users: list[Node]) -> None:
    """Run the services until all users are done. Raise RuntimeError if the machine was too busy."""
    lateness = asyncio.create_task(_lateness())
    servers = {name: await network.serve(name) for name, node in network.nodes.items() if node["do"] in BEHAVIORS}
    network.began = time.monotonic()
    tasks = [asyncio.create_task(_user(network, group, number)) for group in users for number in range(group["count"])]
    tasks += [asyncio.create_task(_dies(network, servers, name)) for name, node in network.nodes.items() if node.get("dead")]
    await asyncio.gather(*tasks)
    await asyncio.sleep(0.3)
    for pool in network.idle.values():
        for one in pool:
            one.writer.close()
    for server in servers.values():
        server.close()
    await asyncio.sleep(0.3)
    if lateness.done():
        raise RuntimeError("the machine was too busy: record it again")
    lateness.cancel()


async def _lateness() -> None:
    """Wait until the services were late once, or forever."""
    late = 0.0
    while late < LATE:
        before = time.monotonic()
        await asyncio.sleep(0.02)
        late = time.monotonic() - before - 0.02


async def _dies(network: Network, servers: dict[str, asyncio.Server], name: str) -> None:
    start, end = network.nodes[name]["dead"]
    await asyncio.sleep(start)
    servers[name].close()
    for writer in list(network.served[name]):
        writer.transport.abort()
    await asyncio.sleep(end - start)
    servers[name] = await network.serve(name)


async def _user(network: Network, group: Node, number: int) -> None:
    """Send requests one after the other, with pauses, until the plan's end."""
    chance = random.Random(f"{group['name']}-{number}-{network.chance.random()}")
    await asyncio.sleep(chance.random() * group.get("spread", group["each"] * 2))
    turn = 0
    while time.monotonic() - network.began < group["until"]:
        turn += 1
        path = group["path"].format(n=chance.randrange(group.get("keys", 400)), turn=turn)
        fields = {"User-Agent": group.get("agent", "shop/1.4")}
        key = f"{group['name']}{number}x{turn}"
        if group.get("ids"):
            fields["X-Request-Id"] = f"{chance.getrandbits(64):016x}"
        if group.get("lab"):
            fields["X-Lab"] = key
        if group.get("etag"):
            fields["If-None-Match"] = '"v7"'
        if group.get("accept"):
            fields["Accept"] = group["accept"]
        to = group["to"][chance.randrange(len(group["to"]))] if not group.get("all") else group["to"][turn % len(group["to"])]
        more: Node = {
            "user": f"{group['name']}{number}",
            "timeout": group.get("timeout"),
            "lab": key if group.get("lab") else None,
        }
        method = "POST" if chance.random() < group.get("posts", 0) else "GET"
        body = b'{"n": 1}' if method == "POST" else b""
        leaves = chance.uniform(0.005, 0.5) if chance.random() < group.get("leaves", 0) else None
        with contextlib.suppress(OSError, TimeoutError):
            await network.ask(group["node"], to, method, path, fields, body, **more)
            parts = [f"{path}/part{part}" for part in range(group.get("parts", 0))]
            fields |= {"Accept": "*/*", "Referer": f"http://{to}{path}"} if parts else {}
            asks = [network.ask(group["node"], to, "GET", part, fields, **more) for part in parts]
            async with asyncio.timeout(leaves):
                await asyncio.gather(*asks, return_exceptions=True)
        if leaves is None:
            await asyncio.sleep(group["each"] * chance.uniform(0.5, 1.5))
