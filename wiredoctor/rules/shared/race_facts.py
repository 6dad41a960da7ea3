"""The facts of a request that meets the server's close."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Facts(NamedTuple):
    """What is known of a request that was lost at a close. Times and durations are in ns.

    `idle`, `idle_at_server`: how long the connection had been idle when the client sent the request, and when it reached the
    server. `rested`, `later`: as in find_lost. `warned`: the client had the response that announced the close. `ttl`,
    `lowest_ttl`, `highest_ttl`: of an RST that another device sent, and of the server's packets. `explanation`: an Explanation.
    `again`: a Repetition. `retry`: a gateway repeated the request (gateways.tries.RETRY).
    """

    connection: int
    exchange: int
    kind: str
    side: str | None
    confidence: str
    frame: int
    start: int
    endpoint: int
    final_at: int
    idle: int | None
    idle_at_server: int | None
    rested: int | None
    later: int | None
    handshake: bool
    warned: bool
    previous_announced_close: bool
    request_end: int
    requests: int
    by_rst: bool
    server_close_frame: int
    server_close_time: int
    server_close_ack: int | None
    server_close_origin: str | None
    reset_frame: int | None
    server_rst_time: int | None
    server_rst_mac: int | None
    ttl: int | None
    lowest_ttl: int | None
    highest_ttl: int | None
    explanation: Mapping[str, Any] | None
    ended_at: int
    round_trip: int
    to_client: int
    severity: str | None
    again: Mapping[str, Any] | None
    retry: Mapping[str, Any] | None
