"""Write what to do about the failure of a gateway, and what the server behind it did."""

from __future__ import annotations

from wiredoctor.gateways.kinds import Failure, is_discarded, is_lost
from wiredoctor.rules.shared.gateway_words import (
    SHORT_LIMIT,
    fault_text,
    is_cut_by_device,
    is_refused_early,
    is_starved,
    time_stalled,
    time_waited,
)
from wiredoctor.text.durations import duration_text
from wiredoctor.world.exchange import Exchange
from wiredoctor.world.learned_limits import EARLIEST
from wiredoctor.world.products import default, settings

USUAL_LIMITS = (
    "nginx proxy_read_timeout, haproxy timeout server, httpd ProxyTimeout, Envoy timeout of the route, Caddy "
    "response_header_timeout, Varnish first_byte_timeout, Go ResponseHeaderTimeout"
)
"""Names of gateways' timeouts, if the software of the gateway is unknown."""
BODY_LIMITS = (
    "nginx proxy_read_timeout, haproxy timeout server, httpd ProxyTimeout, Envoy timeout of the route, Varnish "
    "between_bytes_timeout"
)
"""Names of gateways' timeouts that expire if a response pauses after its head."""
SETTINGS = {
    **{
        one.product.removeprefix("Apache "): f"{one.product}: {one.setting}"
        + (f", {one.amount} by default" if one.default else "")
        for one in settings("answer", "gateway")
    },
    "nginx": f"nginx: proxy_read_timeout (fastcgi_read_timeout for FastCGI), {default('nginx', 'proxy_read_timeout')} by default",
    "httpd": "httpd: ProxyTimeout, or timeout of ProxyPass",
    "Cloudflare": "Cloudflare: proxy_read_timeout, which only some plans can change",
    "AWS ALB": "AWS ALB: idle_timeout.timeout_seconds, "
    f"{default('AWS application load balancers', 'idle_timeout.timeout_seconds')} by default",
}

_LATE = "the server behind it did not answer in time"
_STARVED = "the client had not sent its complete request"
_LOST = "the response of the server behind it did not arrive"
_DID_NOT_READ = "the server behind it did not read the request"
_TOO_SLOWLY = "the server behind it read the request too slowly"
_READ_FASTER = (
    "Find out why the server behind the gateway reads slowly (a full disk, a slow downstream, a lock, a garbage collection, a "
    "full thread pool). Limit the size of requests to it, or raise the limits of the gateway (nginx: proxy_send_timeout; "
    "haproxy: timeout server; httpd: ProxyTimeout; Envoy: timeout of the route; Go: ResponseHeaderTimeout)."
)
_READ_AT_ALL = (
    "The server behind the gateway does not read the request: its process is stopped, busy, or waiting for something else. "
    "Examine it (a stack trace, its CPU time), and limit the size of requests to it."
)
_FIND_LOSS = (
    "Find out what drops the packets of the server behind the gateway: a firewall on the gateway or on the path to it. Capture "
    "on both sides of each suspected device, and look at its counters and logs."
)
_SOONER = "Make the server behind the gateway answer sooner, or "
_FEED = (
    "Find out what the client was waiting for in the middle of its body (a slow source, a suspended program, an interrupted "
    "path). If such pauses are normal, have the gateway read requests completely before it forwards them (nginx "
    "proxy_request_buffering on, haproxy option http-buffer-request), or "
)
_POOL = (
    " If the gateway used a connection that this server was closing, change the pool of the gateway. Have it keep idle "
    "connections for less time than the server does (nginx: keepalive_timeout in upstream; haproxy: pool-purge-delay; httpd: ttl "
    "of ProxyPass; Caddy: keepalive), or have it repeat idempotent requests."
)
_REPEAT = " If the request arrived while the server was closing that connection, have the gateway repeat idempotent requests."
_LONG = (
    " If the head is too long for the gateway, raise the gateway's limit: nginx proxy_buffer_size, haproxy tune.bufsize less "
    "tune.maxrewrite, Node --max-http-header-size, Go Transport.MaxResponseHeaderBytes, Caddy max_response_header."
)
_LOOK_BEHIND = (
    "Check the log of the server behind the gateway at that second for a crash, a worker that was killed for taking too long, or "
    "a wrong Content-Length."
)
_READ_ALL = (
    "Have the server behind the gateway read the rest of a request that it refuses before it closes, up to a limit, or raise its "
    "limit for the size of requests. If a gateway cannot send the complete request, it may report an error of its own."
)
_EXAMINE_SERVER = "check the log of the server behind it for the time of this finding"
_EXAMINE_PATH = (
    "look for the device that ended the connection in the name of the server behind it; the finding foreign-reset about that "
    "connection says how far away it is"
)
_LOOK_AT_GATEWAY = (
    "Check the gateway's log at that second: the gateway itself closed its connection to the server behind it (a timeout, a "
    "limit, a restart)."
)

_LOOK_INSIDE = (
    "Check the gateway's log at that second: it had the complete response. A process of it may have ended or been restarted, or "
    "a limit or a filter for responses rejected this one."
)


def late_words(front: Exchange, failure: Failure, wait: int, software: str, *, unread: bool) -> dict[str, str]:
    """Return the words about a server that did not answer, or did not read, in time.

    `wait`: of the client (ns). `software`: of the gateway. `unread`: the server had closed its receive window.
    """
    last, starved = failure.last, is_starved(front, failure)
    if failure.kind == "unsent":
        return {"late": _DID_NOT_READ, "in_time": _READ_AT_ALL} if unread else {"late": _TOO_SLOWLY, "in_time": _READ_FASTER}
    waited = duration_text(wait if last is None else time_waited(front, last))
    raised = f"raise the timeout of the gateway, which was {waited} here ({SETTINGS.get(software, USUAL_LIMITS)})."
    late, in_time = (_STARVED, f"{_FEED}{raised}") if starved else (_LATE, f"{_SOONER}{raised}")
    if failure.kind == "timed-out" and is_lost(front, last):
        part = "part of " if isinstance(last, Exchange) and last.holed else ""
        late, in_time = late if starved else f"{part}{_LOST}", _FIND_LOSS
    return {"late": late, "in_time": in_time}


def what_to_examine(front: Exchange, failure: Failure) -> str:
    """Return the part of the remedy about what the server behind the gateway, or a device in its name, did."""
    if is_refused_early(front, failure):
        return _READ_ALL
    if is_discarded(front, failure.last):
        return _LOOK_INSIDE
    if failure.kind == "rejected-response" and isinstance(failure.last, Exchange):
        return f"Examine what the server behind the gateway sent: {fault_text(failure.last)}."
    return _EXAMINE_PATH if is_cut_by_device(failure) else _EXAMINE_SERVER


def where_to_look(front: Exchange, failure: Failure) -> str:
    """Return the part of the remedy that depends on the connection to the server.

    If the server closed a reused connection without a response, the advice is about the pool of the gateway. If that connection
    had been idle for a shorter time than any idle timeout, the advice is to repeat requests. If it was new, the result is "". If
    the gateway rejected a response whose head may be too long, the advice is about limits. If a response broke off, the advice
    depends on which side ended it.
    """
    last = failure.last
    if is_cut_by_device(failure):
        # the remedy of kind closed already names the device
        return f"{_EXAMINE_PATH[0].upper()}{_EXAMINE_PATH[1:]}." if failure.kind == "truncated" else ""
    if failure.kind == "closed" and isinstance(last, Exchange):
        if last.values.handshake and last.key[1] == 0 and not last.met_a_close:
            return ""
        before = last.values.previous_end
        return _POOL if before is None or last.dropped - before >= EARLIEST else _REPEAT
    if failure.kind == "rejected-response" and isinstance(last, Exchange):
        return _LONG if _may_be_too_long(last) and not is_refused_early(front, failure) else ""
    if not isinstance(last, Exchange) or last.server_first:
        return _LOOK_BEHIND
    if last.holed:
        return _FIND_LOSS
    if (stalled := time_stalled(front, failure)) is None:
        return _LOOK_AT_GATEWAY
    return (
        "Find out why nothing more came from the server behind the gateway: look at its log at that time, or at a stack trace. "
        "Possible causes are a wrong Content-Length and packets that were lost on the path. If such pauses are normal, raise "
        f"the timeout of the gateway, which was {duration_text(stalled)} here ({BODY_LIMITS})."
    )


def _may_be_too_long(last: Exchange) -> bool:
    """Return whether a gateway may have rejected this response because of the length of its head."""
    head = last.values.response_head_bytes
    is_unread = not last.has_head and not last.server_first
    return not last.garbage and (head is None or head >= SHORT_LIMIT or is_unread)
