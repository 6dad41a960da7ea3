"""Say how the idle times of a server explain a close that lost a request (keep-alive-race)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wiredoctor.rules.shared.race_explanations import Explanation
from wiredoctor.rules.shared.race_facts import Facts
from wiredoctor.rules.shared.words import Nanoseconds
from wiredoctor.tables import SECOND
from wiredoctor.text.durations import duration_text
from wiredoctor.world.connection_close import UPSTREAM_KEPT
from wiredoctor.world.idle_defaults import default_of_server
from wiredoctor.world.numbers import other_connections
from wiredoctor.world.server import TOGETHER, Limit

HEED = "Have the client stop using a connection once a response says Connection: close. "
_ANNOUNCE = "Have the server send Connection: close with the last response before it closes. "
_AWAKE = (
    "Find out what paused the process: a suspended machine, a frozen or throttled container, a debugger, garbage collection. "
)
_DRAIN = "Before a server process ends, have it stop accepting requests, answer those that it has received, and then close. "
_SHORTER = (
    "Make the idle timeout of the client's pool shorter than the server's{}; if the client is a proxy or a balancer, make the "
    "server's idle timeout longer than the client's ("
    f"{UPSTREAM_KEPT} for AWS application load balancers and nginx's upstream "
    "keepalive_timeout). "
)
_REMEDIES = {
    **{"soon": _ANNOUNCE, "unannounced": _ANNOUNCE, "paused": _AWAKE, "stopped": _DRAIN, "together": _DRAIN},
    **{"similar": _DRAIN, "longer": _DRAIN},
    **{"intervals": _DRAIN + _SHORTER.format(""), "several": _DRAIN + _SHORTER.format("")},
    **{"unknown": _SHORTER.format(""), "another": _SHORTER.format("")},
}
_PAUSED_TITLE = "A request was lost: the server was paused and closed the idle connection when it resumed"
_TAKEN = {"paused": "the process was paused, and when it resumed, it closed the connection before it read the request"}
_NEVER_READ = "the process was already closing the connection and never read the request"
_UNANNOUNCED = ". That is not an idle timeout, but an unannounced close soon after a response (see the rule premature-close)."
_PROBABLY_ENDED = "A process of the server probably ended then."


def explanation_words(x: Facts) -> dict[str, Any]:
    """Return the words about the reason for the close, and what has to be changed because of it."""
    e = Explanation("unknown") if x.explanation is None else Explanation(**x.explanation)
    return {
        "title": _PAUSED_TITLE if e.reason == "paused" else "",
        "closed_after": "" if e.reason == "unknown" else "The server closed its end ",
        "limit": None if e.limit is None else Nanoseconds(e.limit),
        "limit_means": _MEANINGS[e.reason](e, x),
        "shorter": _remedy(e, x),
        "pool_limit": e.reason in ("timeout", "unknown", "another", "single"),
        "taken": _TAKEN.get(e.reason, _NEVER_READ),
    }


def _remedy(e: Explanation, x: Facts) -> str:
    if e.reason == "announced":
        return "" if x.kind == "stale-pool" and x.warned else HEED
    if e.reason == "timeout":
        return _SHORTER.format(f" (here {e.timeout.as_text()})")
    return _SHORTER.format(f" (here {duration_text(e.limit or 0)})") if e.reason == "single" else _REMEDIES[e.reason]


def _timeout_text(e: Explanation) -> str:
    """Return the text about an idle timeout: its length and its source.

    If the server announces no timeout, the text also names the products with this default timeout.
    """
    whose = default_of_server(e.low, e.software) if e.announced is None else ""
    return f"{e.timeout.as_text()}, {e.timeout.origin()}{whose}"


def _soon(e: Explanation, x: Facts) -> str:
    times = f"{e.closes:,} of its closes came within {duration_text(e.high)} of the previous response"
    again = ", and it never answered a second request on a connection" if (x.idle_at_server or 0) > e.high else ""
    return f" after the previous response, as it often does without announcing it ({times}{again})."


def _paused(e: Explanation, x: Facts) -> str:
    return (
        f" after the previous response: its idle timeout is {_timeout_text(e)}. But the process was paused: for "
        f"{duration_text(x.later or 0)} it sent nothing on any connection, while requests were waiting on {e.number:,} "
        "connections."
    )


def _stopped(e: Explanation, _: Facts) -> str:
    """Return a sentence saying that a process ended, with the facts that show it."""
    said = [f"it also closed {other_connections(e.number)}, all idle"] if e.number > 1 else []
    said += ["it also closed another idle connection"] if e.number == 1 else []
    said += [f"it cut off {'a response or a tunnel' if e.cut == 1 else f'{e.cut:,} responses or tunnels'}"] if e.cut else []
    said += [f"it refused {'a SYN' if e.refused == 1 else f'{e.refused:,} SYNs'} after that"] if e.refused else []
    how = f" ({'; '.join(said)})" if said else ""
    return f"{_after(e)}: a process of the server ended then{how}."


def _together(e: Explanation, _: Facts) -> str:
    low, high = duration_text(e.low), duration_text(e.high)
    others = f"{other_connections(e.number)} after {low if low == high else f'{low} to {high}'} idle"
    within = f"within {duration_text(TOGETHER)} it also closed {others}"
    return f" after the previous response, and {within}: a process of the server ended then."


def _no_timeout(e: Explanation, _: Facts) -> str:
    requests = "a request was" if e.number == 1 else f"{e.number:,} requests were"
    answered = f"{requests} answered after {e.reason} idle times"
    return f" after the previous response. That is not an idle timeout: {answered}. {_PROBABLY_ENDED}"


def _intervals(e: Explanation, _: Facts) -> str:
    return (
        f" after the previous response. Its closes came after similar idle times ({duration_text(e.low)} to "
        f"{duration_text(e.high)}), but nearly always as a client sent its next request, so the idle times may be the interval "
        "between its requests: either the server's idle timeout expired, or a process of the server ended then. The packets "
        "cannot tell which."
    )


def _several(e: Explanation, _: Facts) -> str:
    count = f"{other_connections(e.number)} after the same idle time"
    return (
        f" after the previous response. It also closed {count}: a process of the server ended then, or the same idle timeout "
        "expired on all of them."
    )


def _single(e: Explanation, _: Facts) -> str:
    idle, said, after = e.limit or 0, e.announced, " after the previous response"
    if said is None:
        return f"{after}, which is probably its idle timeout{default_of_server(idle, e.software)}."
    promised = [Limit("announced", n * SECOND, n * SECOND, said=said) for n in (said, said + 1)]
    kept = next((one for one in promised if one.has(idle)), None)
    return f"{after}, its idle timeout, {kept.origin()}." if kept else f"{after}, although it had announced {said} s."


def _after(e: Explanation) -> str:
    return "together with the previous response" if e.limit is None else " after the previous response"


_MEANINGS: dict[str, Callable[[Explanation, Facts], str]] = {
    "soon": _soon,
    "timeout": lambda e, _: f" after the previous response. Its idle timeout is {_timeout_text(e)}.",
    "paused": _paused,
    "unknown": lambda _e, _x: "",
    "announced": lambda e, _: f"{_after(e)}, which had announced the close (Connection: close or an equivalent).",
    "stopped": _stopped,
    "together": _together,
    "unannounced": lambda e, _: f"{_after(e)}{_UNANNOUNCED}",
    "another": lambda e, _: f" after the previous response. That is not its idle timeout, which is {_timeout_text(e)}.",
    "similar": _no_timeout,
    "longer": _no_timeout,
    "intervals": _intervals,
    "several": _several,
    "single": _single,
}
