"""Record requests that meet the idle timeout of a real server, and similar cases in which a server's process ends.

peers/timed_pool.py sends its requests when the idle timeout expires; the kernel acknowledges some that the process never reads. A
recording keeps only a few of its many connections: those whose requests were lost, and those that show the idle timeout. races.py
makes hundreds of similar recordings.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import evidence
from impairments import Conditions
from papers import Mismatch
from race_servers import PORT, SERVERS, proxy
from scenario import LOST, PEERS, Connection, Find, get, raw_client, raw_server, recording, unanswered

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scenario import Lab

MET = Find("keep-alive-race", "at-limit", "client", LOST)
CROSSED = Find("keep-alive-race", "race", "client", LOST)
PAGE = get("/bytes/20", 20)
ANSWERED = Connection((PAGE,))
ASKED = Connection((PAGE, unanswered("GET", "/bytes/20")), closed_by=None)
SLOW = Connection((get("/slow/15", 20),))
SLOW_ASKED = Connection((unanswered("GET", "/slow/15"),), closed_by=None)
AT_THE_LIMIT = {
    "no-response": "the kernel took the request, and the process was already closing",
    "premature-close": "it had been idle for seconds",
    "idle-timeout-broken-promise": "it closed when it had said it would, or had said nothing",
}


TOGETHER = 0.05
"""The time in seconds within which a server that checks for idle connections now and then closes all that it finds."""


def kept(
    lost: str = "acknowledged", least: int = 1, most: int = 3, young: float = 0.0, *, company: bool = False
) -> Callable[[Path], None]:
    """Return a function that keeps only some connections of a recording. It raises Mismatch if there are too few.

    It keeps at most `most` and at least `least` connections whose last request was lost in the way `lost` (see evidence.lost),
    and three that were closed while idle: for less than `young` seconds or, if that is 0, for more than one second. With
    `company`, these three closed at different times, and two connections that closed together with each lost request are kept,
    too. Connections of the client that only keeps the server busy are removed.
    """

    def crop(path: Path) -> None:
        heads, seen = evidence.heads(path, whole=False), evidence.lost(path)
        streams = {n: one for n, one in evidence.segments(path).items() if n in heads and not _busy(heads[n].targets)}
        seen = {n: how for n, how in seen.items() if n in streams}
        wanted = [number for number, how in seen.items() if how == lost]
        rests = {number: _rest(stream) for number, stream in streams.items() if number not in seen}
        others = [n for n, rest in rests.items() if rest is not None and (rest < young if young else rest > 1.0)]
        near = {n: [o for o in others + wanted if o != n and _is_near(streams[o], streams[n])] for n in wanted}
        wanted = [n for n in wanted if not company or len(near[n]) > 1][:most]
        if len(wanted) < least or not others:
            raise Mismatch(f"{len(wanted)} requests were lost so, and {len(others)} connections were closed at rest")
        some = others[:: max(1, (len(others) - 1) // 2)] if company else others
        leave(path, [*{*wanted, *some[:3], *(other for n in wanted if company for other in near[n][:2])}])

    return crop


def leave(path: Path, streams: list[int]) -> None:
    """Keep only these connections of a recording."""
    whole = path.with_suffix(".whole")
    path.rename(whole)
    expression = f"tcp.stream in {{{', '.join(map(str, sorted(streams)))}}}"
    subprocess.run(["tshark", "-n", "-r", str(whole), "-Y", expression, "-F", "pcap", "-w", str(path)], check=True)


def _answers(stream: list[evidence.Segment]) -> list[float]:
    port = evidence.client_port(stream)
    return [segment.time for segment in stream if segment.port != port and segment.length]


def _is_near(one: list[evidence.Segment], other: list[evidence.Segment]) -> bool:
    return abs(_closed(one) - _closed(other)) <= TOGETHER


def _busy(targets: list[str]) -> bool:
    return any(target.startswith("/work/") for target in targets)


def _closed(stream: list[evidence.Segment]) -> float:
    port = evidence.client_port(stream)
    return next(s.time for s in stream if s.port != port and s.flags & (evidence.FIN | evidence.RST))


def _rest(stream: list[evidence.Segment]) -> float | None:
    """Return the time in seconds from the last response to the server's close. None: the server did not close first, or never
    answered.
    """
    answers = _answers(stream)
    closes = [segment.time for segment in stream if segment.flags & (evidence.FIN | evidence.RST)]
    return closes[0] - answers[-1] if answers and evidence.closed_by(stream) == "server" else None


def ask(
    lab: Lab, server: str, limit: float, *, front: int = 0, workers: int = 1, more: tuple[str, ...] = (), **pool: Any
) -> None:
    """Start a server with this idle timeout on port 8080, and a pool that sends requests to it, or to the proxy on the port
    `front`.
    """
    parent = SERVERS[server].start(lab, lab.folder, limit, workers, *more)
    lab.server.wait_for_listener(PORT)
    where = {"address": "127.0.0.1" if front else "10.9.0.2", "port": front or PORT, "behind": ["10.9.0.2", PORT]}
    plan = {**where, "parent": parent.pid, "seed": lab.client.name, "numbered": False, "apart": 0.0, "spread": 0.002, **pool}
    script = lab.file("pool.json", json.dumps(plan))
    lab.client.run(sys.executable, str(PEERS / "timed_pool.py"), script, timeout=90)


@recording(
    title="node announces Keep-Alive: timeout=1 and closes after 2 s",
    at="client",
    software=("node", "python"),
    connections=(Connection((PAGE,), closed_by="server", repeat=3),),
    finds=(Find("idle-close", None, "server", note=True),),
    must_not={"idle-timeout-broken-promise": "it keeps what it announces", "keep-alive-race": "no request was lost"},
)
def node_announces_one_second(lab: Lab) -> None:
    """node with `keepAliveTimeout: 1000` announces this, and closes a second later, like all recent versions. Three connections
    are used once and then idle. The report names the announced timeout, not another server's default of 2 s."""
    SERVERS["node"].start(lab, lab.folder, 1.0)
    lab.server.wait_for_listener(PORT)
    request = b"GET /bytes/20 HTTP/1.1\r\nHost: www\r\n\r\n"
    raw_client(lab, [[request, {"read": ["GET"]}, {"do": "wait"}]] * 3)


@recording(
    title="Requests arrive as node's idle timeout expires, over a round trip of 20 ms: they are acknowledged, but never read",
    at=("client", "server"),
    software=("node", "python"),
    connections=(ANSWERED, ASKED),
    finds=(MET,),
    must_not=AT_THE_LIMIT,
    wire=Conditions(0.010),
    mend=kept(),
    spread=True,
)
def node_met(lab: Lab) -> None:
    """node keeps idle connections for 2 s, announces timeout=1, and is busy for 60 ms now and then. A pool sends its requests
    when the idle timeout expires. node's kernel acknowledges some that arrive while node is busy; node then closes with the
    request unread, and the kernel sends a reset."""
    ask(lab, "node", 1.0, aim=2.0, groups=[12], seconds=9.0, busy=60, rtt=0.020, spread=0.01)


@recording(
    title="Requests arrive as gunicorn's idle timeout expires: they are acknowledged, but never read",
    at="server",
    software=("gunicorn", "python"),
    connections=(ANSWERED, ASKED),
    finds=(MET,),
    must_not=AT_THE_LIMIT,
    mend=kept(),
    spread=True,
)
def gunicorn_met(lab: Lab) -> None:
    """gunicorn with threads and `--keep-alive 2`, busy for 40 ms now and then, and a pool whose requests arrive when the idle
    timeout expires."""
    ask(lab, "gunicorn", 2.0, aim=2.0, groups=[12], seconds=9.0, busy=40)


@recording(
    title="Requests of nginx arrive as the idle timeout of the nginx behind it expires",
    at="client",
    software=("nginx", "python"),
    connections=(ANSWERED, ASKED),
    finds=(MET,),
    must_not=AT_THE_LIMIT,
    mend=kept(),
    spread=True,
)
def nginx_met(lab: Lab) -> None:
    """nginx with `keepalive` to an upstream, which is nginx with `keepalive_timeout 2s`. Recorded between the two, while users
    send requests on 32 connections when the idle timeout expires."""
    ask(lab, "nginx", 2.0, front=proxy(lab, "nginx"), aim=2.0, groups=[32], seconds=30.0, spread=0.001, at_once=True)


@recording(
    title="Requests arrive as Apache's idle timeout expires; Apache's FIN acknowledges them",
    at="server",
    software=("apache2", "nginx", "python"),
    connections=(ANSWERED, ASKED),
    finds=(MET,),
    must_not=AT_THE_LIMIT,
    mend=kept(),
    spread=True,
)
def apache_met(lab: Lab) -> None:
    """Apache with `KeepAliveTimeout 2` behind nginx, recorded between the two. Apache shuts down its sending side before it reads
    the remaining data, so its FIN acknowledges a request that it never read."""
    ask(lab, "apache", 2.0, front=proxy(lab, "nginx"), aim=2.0, groups=[32], seconds=30.0, spread=0.001, at_once=True)


@recording(
    title="Requests arrive as the idle timeout of Go's net/http expires, over a round trip of 4 ms",
    at="client",
    software=("go", "python"),
    connections=(ANSWERED, ASKED),
    finds=(MET,),
    must_not=AT_THE_LIMIT,
    wire=Conditions(0.002),
    mend=kept(),
    spread=True,
)
def go_met(lab: Lab) -> None:
    """`IdleTimeout: 2 * time.Second`, a processor that is busy for 60 ms now and then, and a pool whose requests arrive when the
    idle timeout expires."""
    ask(lab, "go", 2.0, aim=2.0, groups=[24], seconds=12.0, busy=60, rtt=0.004)


@recording(
    title="Requests of haproxy arrive as uvicorn's idle timeout expires: they are acknowledged, but never read",
    at="client",
    software=("uvicorn", "haproxy", "python"),
    connections=(ANSWERED, SLOW, SLOW_ASKED),
    finds=(MET,),
    must_not=AT_THE_LIMIT,
    mend=kept(),
    spread=True,
)
def uvicorn_met(lab: Lab) -> None:
    """uvicorn with `--timeout-keep-alive 2`, busy for 60 ms now and then, behind haproxy with `http-reuse always`. Recorded
    between the two, while users send requests on 16 connections when the idle timeout expires."""
    front = proxy(lab, "haproxy")
    ask(lab, "uvicorn", 2.0, front=front, aim=2.0, groups=[16], seconds=30.0, busy=60, at_once=True, paths=[["/slow/15", 1]])


@recording(
    title="Requests of Caddy arrive as Jetty's idle timeout expires; Jetty's FIN acknowledges them",
    at="client",
    software=("jetty", "caddy", "python"),
    connections=(ANSWERED, SLOW, SLOW_ASKED),
    finds=(MET,),
    must_not=AT_THE_LIMIT,
    mend=kept(),
    spread=True,
)
def jetty_met(lab: Lab) -> None:
    """Jetty with an idle timeout of 2 s behind Caddy, recorded between the two. Jetty shuts down its sending side before it reads
    the remaining data."""
    front = proxy(lab, "caddy")
    ask(lab, "jetty", 2.0, front=front, aim=2.0, groups=[24], seconds=40.0, at_once=True, paths=[["/slow/15", 1]])


@recording(
    title="Requests of httpd arrive as Tomcat closes idle connections, which it does at intervals",
    at="client",
    software=("tomcat", "apache2", "python"),
    connections=(ANSWERED, Connection((get("/slow/15", 17),)), SLOW_ASKED),
    finds=(MET,),
    must_not=AT_THE_LIMIT,
    mend=kept(company=True),
    spread=True,
)
def tomcat_met(lab: Lab) -> None:
    """Tomcat with `keepAliveTimeout="2000"` behind Apache httpd, recorded between the two. Once a second, Tomcat closes all
    connections that are idle for too long, each with a FIN, which acknowledges a request that Tomcat never read."""
    front, slow = proxy(lab, "apache"), [["/slow/15", 1]]
    ask(lab, "tomcat", 2.0, front=front, aim=2.0, groups=[24], seconds=45.0, spread=0.3, stride=40, at_once=True, paths=slow)


@recording(
    title="Requests arrive as Java's com.sun.net.httpserver closes idle connections, which it does at intervals",
    at="server",
    software=("java", "python"),
    connections=(ANSWERED, ASKED),
    finds=(MET,),
    must_not=AT_THE_LIMIT,
    mend=kept(company=True),
    spread=True,
)
def java_met(lab: Lab) -> None:
    """com.sun.net.httpserver with an idle interval of 2 s and a clock tick of 1 s. Its timer closes all connections that were
    idle for too long, each with a FIN, which acknowledges a request that the server never read."""
    ask(lab, "java", 2.0, aim=2.0, groups=[6] * 10, seconds=45.0, spread=0.3, stride=40)


def soon(path: Path) -> None:
    """Raise Mismatch if the server closed late."""
    for stream in evidence.segments(path).values():
        late = _closed(stream) - _answers(stream)[-1]
        if late > 0.018:
            raise Mismatch(f"the server closed {1000 * late:.0f} ms after its answer")


@recording(
    title="A server that closes unannounced after each response, and a client that sends its next request immediately",
    at="client",
    software=("python",),
    connections=(
        Connection((get("/report", 5),), closed_by="server", repeat=2),
        Connection((get("/report", 5), unanswered("GET", "/report")), closed_by="server", repeat=3),
    ),
    finds=(*(Find("premature-close", None, "server", number) for number in (0, 1)), MET),
    must_not={"no-response": "the request met the close, which was for the answer before it"},
    mend=soon,
)
def soon_met(lab: Lab) -> None:
    """A hand-written server closes 11 ms after each response. Two clients wait for the close; three send their next request at
    once: the kernel accepts the request, and the server closes without reading it."""
    fine = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nfine\n"
    request = b"GET /report HTTP/1.1\r\nHost: www\r\n\r\n"
    raw_server(lab, [[fine, 0.011, {"do": "close"}]])
    wait, read = {"do": "wait"}, {"read": ["GET"]}
    raw_client(lab, [[0.1, request, read, wait]] * 2 + [[0.1, request, read, request, wait]] * 3)


NEVER_READ = Find("no-response", "unread", "server", LOST)


def killed(path: Path) -> None:
    """Keep only reused connections whose last request was acknowledged but never read, so the kernel reset the connection."""
    streams, seen = evidence.segments(path), evidence.lost(path)
    kept = {n for n, s in streams.items() if _answers(s) and not any(segment.flags & evidence.FIN for segment in s)}
    wanted = [number for number, how in seen.items() if how == "acknowledged" and number in kept]
    if len(wanted) < 4:
        raise Mismatch(f"{len(wanted)} requests were lost so")
    leave(path, wanted)


@recording(
    title="A node process is killed while it is busy; its clients send requests every two seconds",
    at="server",
    software=("node", "python"),
    connections=(ANSWERED, ASKED),
    finds=(NEVER_READ,),
    must_not={
        "keep-alive-race": "no limit is near: node keeps connections for 75 s here",
        "idle-close": "nothing was closed at rest",
    },
    mend=killed,
    spread=True,
)
def node_killed(lab: Lab) -> None:
    """Looks like an idle timeout. A pool sends requests every two seconds. Now and then a request keeps the only process busy,
    other requests wait in its kernel, and 10 to 50 ms later the process is killed and restarted: all idle times are equal, and
    all closes are resets."""
    killing: dict[str, Any] = {"kill_share": 0.6, "kill_after": [0.01, 0.05], "signal": "SIGKILL", "how": "kill -9"}
    ask(lab, "node", 75.0, rests=[2.0, 2.0], groups=[4], seconds=16.0, stuck=400, **killing)


@recording(
    title="A node process ends 100 ms after a request, on connections that were used before",
    at="server",
    software=("node", "python"),
    connections=(Connection((PAGE, unanswered("GET", "/die/100")), closed_by="server", repeat=3),),
    finds=tuple(Find("no-response", "later", "server", number) for number in range(3)),
    must_not={"keep-alive-race": "no limit is near", "premature-close": "the request came first"},
)
def node_dies(lab: Lab) -> None:
    """node's process ends 100 ms after it has read a request, three times, after idle times of 1.2, 1.9 and 0.4 s: its kernel
    sends a FIN. A supervisor restarts it."""
    SERVERS["node"].start(lab, lab.folder, 75.0)
    first, last = (b"GET %s HTTP/1.1\r\nHost: www\r\n\r\n" % path for path in (b"/bytes/20", b"/die/100"))
    for rest in (1.2, 1.9, 0.4):
        lab.server.wait_for_listener(PORT)
        raw_client(lab, [[first, {"read": ["GET"]}, rest, last, {"do": "wait"}]])


@recording(
    title="A process is killed while a request is on its way: the FIN and the request cross",
    at=("client", "server"),
    software=("node", "python"),
    connections=(ANSWERED, ASKED),
    finds=(CROSSED, Find("idle-close", "stop", "server", note=True), Find("premature-close", "once", "server", 4, note=True)),
    must_not={"no-response": "the close left before the request came"},
    wire=Conditions(0.040),
    mend=kept("race", young=0.9),
    spread=True,
)
def killed_on_the_way(lab: Lab) -> None:
    """node, 80 ms away, is killed while requests are on their way to it, so its FIN does not acknowledge them. The other
    connections of that process end at the same time, soon after a response, so no idle timeout had expired. A single connection,
    ended later, shows no stop."""
    killing: dict[str, Any] = {"kill_share": 0.7, "kill_after": [-0.01, 0.03], "signal": "SIGKILL", "how": "kill -9"}
    ask(lab, "node", 75.0, rests=[1.2, 2.4], together=False, groups=[4], seconds=8.0, rtt=0.080, **killing)
