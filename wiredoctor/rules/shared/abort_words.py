"""Return the words of `client-abort` about the reason why a client ended an exchange early, and about its timeout."""

from __future__ import annotations

from collections.abc import Iterator

from wiredoctor.findings import shorten
from wiredoctor.rules.shared.abort_facts import Facts
from wiredoctor.rules.shared.words import REPEATED
from wiredoctor.tables import MILLISECOND, SECOND
from wiredoctor.text import redact
from wiredoctor.text.durations import duration_text
from wiredoctor.text.escape import REQUEST_LENGTH, printable
from wiredoctor.world.products import default

WHOLE_SECOND = 50 * MILLISECOND
"""The tolerance (ns) for a limit of whole seconds on a complete transfer.

Such a limit begins somewhat before the request: with the start of the program, or with the SYN.
"""

_SINCE = {
    "request": "",
    "end": ", counted from the end of the request,",
    "syn": ", counted from its SYN,",
    "byte": ", counted from the last byte,",
}
_TIMERS = {"node": " The", "undici": " The", "": " If the client is Node, the"}
_LATE_TIMERS = "{} timers of Node's fetch and undici are up to 1 s late: the timeout may be between {} s and {} s."

_TOTAL = "Look for a limit of {} for complete answers in the client."
_ENDED = " The client ended such streams again and again about {} after "
_OR_TEST = ", while data came: a limit for complete answers expired, or a test that stops after that time."
_STREAM_LIMITS = {
    "stream-read": (
        ": a timeout of about {} for the next data",
        " The client ended such streams again and again after about {} without data: its timeout for the next data expired.",
        "Look for such a timeout of about {} in the client (aiohttp: sock_read; undici: bodyTimeout; requests, httpx: timeout), "
        "or have the server send something more often, such as a comment line.",
    ),
    "stream-syn": (": a limit of about {}", _ENDED + "it had opened the connection" + _OR_TEST, _TOTAL),
    "stream-request": (": a limit of about {}", _ENDED + "the request" + _OR_TEST, _TOTAL),
}

_TOO_SOON = " A response takes at least a round trip ({span}), and the client did not wait"
_LEFT = {
    "page": " At that time the same client requested a page: {asked}.",
    "closed-page": " A page was loading ({asked}), and the same client requested nothing for the next 5 s: the page was closed.",
    "media": " The client plays media: the user stopped it, or it had the part that it wanted.",
    "longer": " The client had once waited {span} for the response to a similar request, so its timeout is not shorter.",
    "too-soon": f"{_TOO_SOON} that long: its user or its program ended the request.",
    "crossing": f"{_TOO_SOON} for the response that was on its way: its user or its program ended the request.",
}


def progress(sending: bool, quiet: int | None, until_close: bool | None) -> str:
    """Return words for the end of a title about a client that gave up, from these facts of client-abort."""
    if sending:
        return ", while it was still sending the request"
    waits_for_close = quiet is not None and until_close
    return ", while it waited for the close that ends the response" if waits_for_close else ", before it had the response"


def timeout_words(x: Facts) -> dict[str, str]:
    """Return the words about the timeout of the client; they are "" if its wait matches none."""
    if x.how in _STREAM_LIMITS:
        named, means, where = _STREAM_LIMITS[x.how]
        limit = duration_text(x.span or 0)
        return {
            "timeout_named": named.format(limit),
            "timeout_means": means.format(limit),
            "timeout_where": " " + where.format(limit),
        }
    timeout = x.from_syn or x.early["timeout"]
    if x.how == "equal-waits":
        limit = duration_text(x.span or 0)
        return {
            "timeout_named": f": a timeout of about {limit}",
            "timeout_means": f" Clients of this server closed again and again after about {limit}: a timeout expired.",
            "timeout_where": f" Look for a timeout of about {limit} in the client.",
        }
    if timeout is None:
        return dict.fromkeys(("timeout_named", "timeout_means", "timeout_where"), "")
    # a limit on the complete transfer, in whole seconds, is as likely as a timeout that begins with the end of the request
    beyond = (x.wait + SECOND // 2) % SECOND - SECOND // 2
    of_transfer = x.since == "end" and abs(beyond) <= WHOLE_SECOND
    # after the response has begun, the time may match a usual timeout by chance
    sure = bool(x.from_syn) or (x.nothing and not of_transfer and not x.beside)
    return {
        "timeout_named": f": a timeout of about {timeout} s" if sure else "",
        "timeout_means": _timeout_sentence(x, timeout, sure=sure),
        "timeout_where": f" Look for a timeout of about {timeout} s in the client.{_late_timers(x, timeout)}",
    }


def _timeout_sentence(x: Facts, timeout: int, *, sure: bool) -> str:
    if x.from_syn:
        return f" It had sent its first SYN {timeout} s before it closed, and had to retransmit it: a timeout expired."
    if x.beside:
        idle = f"{x.beside:,} idle connections" if x.beside > 1 else "an idle connection"
        return (
            f" A client timeout of about {timeout} s may have expired, or the client's program ended: it closed {idle} to this "
            "server at the same moment."
        )
    return f" A client timeout of about {timeout} s{_SINCE[x.since]} {'expired' if sure else 'may have expired'}."


def _late_timers(x: Facts, timeout: int) -> str:
    whose = _TIMERS.get(x.request_user_agent or "")
    return "" if whose is None or timeout <= 1 or x.from_syn else _LATE_TIMERS.format(whose, timeout - 1, timeout)


def gateway_words(x: Facts, again: str | None) -> dict[str, str | None]:
    """Return the title and the addition for a client that is a gateway, and the addition for a server that is one.

    `again`: the sentence about a request that the client sent again, which is the addition if there is no gateway.
    """
    if x.retry is not None:
        return {
            "title": f"The gateway gave up after {duration_text(x.ended_at - x.start)} and tried another server",
            "addition": f"This client is a gateway, and its own client did not notice the failure: {REPEATED.format(**x.retry)}",
        }
    waited = None if x.waited_for is None else _waited_sentence(**x.waited_for)
    if not x.is_gateway:
        return {"addition": " ".join(text for text in (waited, again) if text)}
    after = duration_text(x.ended_at - x.start)
    said = _IS_GATEWAY if x.relayed is None else _IS_RELAY.format(x.relayed)
    return {
        "title": f"The gateway gave up {after} after its request{progress(x.sending, x.quiet, x.until_close)}",
        "addition": said if waited is None else f"{waited} {said}",
    }


def _waited_sentence(server: str, attempt: bool, in_part: bool, time: int) -> str:
    """Return the sentence about the server for which a gateway was waiting; the fields are those of WAITED_FOR."""
    lasted = duration_text(time)
    had = f"had not answered{' its SYN' if attempt else ''} in {lasted}"
    if in_part:
        had = f"had sent only part of its response, and then nothing for {lasted}"
    return f"The gateway was waiting for {server}, which {had}."


_IS_GATEWAY = "This client is a gateway, which forwards the requests of its own clients."
_IS_RELAY = (
    "This client is probably a gateway (a relay for TCP or TLS), which passes on what its own client sends. It opened this "
    "connection right after that client had opened connection {}, and it closed both at the same moment."
)


def reason_words(x: Facts) -> dict[str, str]:
    """Return the words about the reason for the close."""
    asked = _request_text(x)
    stopped = "A media player stopped" if x.how == "media" else "The client's user or program stopped waiting"
    return {
        "filter": "" if x.other is not None or x.closed else f"tcp.stream == {x.connection} && ",
        "waits": _waits(x),
        "instead": _instead(x),
        "who_left": stopped if x.other is None else "The user left",
        "left_means": _LEFT[x.how].format(asked=asked, span=duration_text(x.span or 0)) if x.how in _LEFT else "",
        **(_unread_words(x) if x.kind == "unread" else {}),
        **_superseded_words(x, asked),
    }


def other_packets(x: Facts) -> Iterator[tuple[int, int, str]]:
    """Yield the frame, time (ns) and note of packets on the client's other connections that prove the reason."""
    if x.other is not None:
        yield x.other["frame"], x.other["start"], f"the same client requests {_instead(x)}"
    if x.elsewhere is not None:
        yield x.elsewhere["frame"], x.elsewhere["start"], f"the same request to {x.elsewhere['server']}"
    for time, connection, frame in x.shown or ():
        yield frame, time, f"the client closes connection {connection}"


def _request_text(x: Facts) -> str:
    """Return the other request; "" if there is none."""
    if x.other is None:
        return ""
    return shorten(printable(f"{redact.method(x.other['method'])} {redact.target(x.other['target'])}"), REQUEST_LENGTH)


def _instead(x: Facts) -> str:
    """Return the other request, and the position from which it requests its resource."""
    first = x.other and x.other["range_start"]
    return _request_text(x) if first is None else f"{_request_text(x)} from byte {first:,} on"


def _waits(x: Facts) -> str:
    """Return words about the waits on the connections that the client closed at that moment."""
    if not x.closed:
        return ""
    some = "all" if x.waiting == x.closed else f"{x.waiting:,}"
    span = " (for {} to {})".format(*map(duration_text, x.waits)) if x.waits and len(x.waits) > 1 else ""
    return f" and was waiting for a response on {some} of them{span}"


def _unread_words(x: Facts) -> dict[str, str]:
    """Return the words for the kind unread."""
    after = duration_text(0 if x.response_start is None else max(x.ended_at - x.response_start, 0))
    if x.how == "not-awaited":
        return {
            "unread": "right after its request, without waiting for the response",
            "unread_means": " The FIN followed the request at once: the client did not wait.",
            "unread_remedy": "If it matters whether the request succeeded, have the client read the response before it closes. "
            "Some servers stop their work for a client that has closed.",
        }
    if x.large_head is not None:
        return {
            "unread": f"after the head of the {x.response_status}, which may be too large for the client",
            "unread_means": f" The head has {x.large_head:,} bytes, and no byte of the body had come. The client closed {after} "
            "after the response began: the head may exceed the client's limit, or the client did not want the body.",
            "unread_remedy": "Compare the size of the head with the limits of the client (nginx as a proxy: proxy_buffer_size, "
            f"{default('nginx', 'proxy_buffer_size')} kB by default; its error log then says upstream sent too big header), and "
            "have the server send fewer or smaller fields. ",
        }
    return {
        "unread": f"after the head of the {x.response_status}: it did not want the body",
        "unread_means": f" It had received the head of the response, and closed {after} after the response began. A client with "
        "a limit on the size of responses closes like this, too.",
        "unread_remedy": "If a check needs only the status, have it use HEAD or request a small page. If the client wants to "
        "reuse the connection, have it read the body to its end (Go: io.Copy(io.Discard, response.Body)). If the response was "
        "too large for the client, raise the client's limit (axios maxContentLength, libcurl CURLOPT_MAXFILESIZE).",
    }


def _superseded_words(x: Facts, asked: str) -> dict[str, str]:
    """Return the words for the kind superseded. `asked`: the request that replaced this one."""
    if x.elsewhere is not None:
        got = f"{x.elsewhere['server']}, and got {x.elsewhere['status']} there"
        return {
            "superseded": "had the response from another server, and canceled its request",
            "superseded_means": f" It had sent the same request to {got}. It closed {x.closed or 1:,} connections to this "
            "server like this: it sends its requests to several servers and uses the first responses.",
            "superseded_remedy": "Canceled requests cost the servers work: have the client wait longer before it asks "
            "another one.",
        }
    if x.other is None:
        return {}
    if x.how == "copy":
        got = f"connection {x.other['connection']} and got {x.other['status']}"
        return {
            "superseded": "had the response to another copy of its request, and canceled this copy",
            "superseded_means": f" It had sent the same request on {got}.",
            "superseded_remedy": "To avoid needless copies, have the client wait longer before it sends a second copy.",
        }
    after, query = duration_text(abs(x.other["start"] - x.ended_at)), " (with another query)" if "?" in asked else ""
    return {
        "superseded": "replaced its request with another one",
        "superseded_means": f" Within {after} of that, it requested {asked}{query} instead.",
        "superseded_remedy": "To avoid needless requests, have the client wait for a pause in typing before it sends a request.",
    }
