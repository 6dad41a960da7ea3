"""Write the words and the evidence about a server that failed because a request of its own failed (kind failed-call)."""

from __future__ import annotations

from typing import Any

from wiredoctor.gateways.kinds import Failure
from wiredoctor.rules.shared.gateway_words import failure_filter, failure_origin, tries_text
from wiredoctor.rules.shared.words import Packet, fin_or_rst, packets
from wiredoctor.text.durations import duration_text
from wiredoctor.world.exchange import Exchange

_AUTH = (
    " If nginx sent that request for auth_request, it answers 500 unless the response to it has status 2xx, 401 or 403; its "
    "error log then has: auth request unexpected status."
)


def call_words(front: Exchange, failure: Failure, software: str) -> dict[str, Any]:
    """Return the words about the failure. `software`: of the server that sent the failed request, if known."""
    call = failure.last
    if not isinstance(call, Exchange):
        return {}
    caller = failure.through[-1].server if failure.through else ""
    whose = f"the request of {caller}" if caller else "its own request"
    return {
        "outcome": f"The server answered {front.status}",
        "got": f"got {front.status} from {front.server}",
        "why": f": {whose} to {call.server} for this one failed ({_result(call)})",
        "more": tries_text(failure), "culprit": call.server, "whose": whose,
        "auth": _AUTH if software == "nginx" else "",
        "evidence": _evidence(front, failure, call), "filter": failure_filter(front, failure),
        "origin": failure_origin(front, failure), "own": False,
    }  # fmt: skip


def _result(call: Exchange) -> str:
    since = call.values.request_start if call.asked > call.answered else call.asked
    after = duration_text(max(call.answered - since, 0))
    if call.begun:
        return f"{call.status} after {after}"
    if call.server_first:
        return f"{call.server} closed the connection without a response after {after}"
    return f"no response after {after}"


def _evidence(front: Exchange, failure: Failure, call: Exchange) -> list[Packet]:
    v = front.values
    given: list[tuple[int | None, int | None, str]] = [
        (v.request_last_frame or v.request_frame, v.request_end or v.request_start, "the client's request")
    ]
    for one in failure.through:
        given.append((one.values.request_frame, one.values.request_start, f"the request to {one.server} for it"))
    given.append((call.values.request_frame, call.values.request_start, f"the request to {call.server} for it"))
    if call.begun:
        given.append((call.values.response_frame, call.values.response_start, f"its response: {call.status}"))
    else:
        side = "server" if call.server_first else "client"
        close = call.close_of(side)
        who = call.server if call.server_first else "the caller"
        given.append((close.frame, close.time, f"{who} closes ({fin_or_rst(close.rst)}), without a response"))
    given.append((v.response_frame, v.response_start, f"the response to the client: {front.status}"))
    return packets(*given)
