"""The facts of a client that aborts an exchange."""

from __future__ import annotations

from typing import Any, NamedTuple


class Facts(NamedTuple):
    """What is known of a client that ended an exchange early. Times and durations are in ns.

    `early`: the columns of EarlyClose except the first two. `since`: see left_early.early. `nothing`: the client had received
    no part of the response. `quiet`: if it had received a part, and then nothing for at least QUIET, that time.
    `until_close`: only a close ends the response. `whole`: the response was captured to its end. `window_closed`: the
    client's receive window was closed when it left. `large_head`: the size in bytes of a response head that the client may
    have rejected.

    `is_answer`: the response is a stream for whose end the client waited; `is_stream`: only a timeout makes its close a
    finding. `by_format`: its events have the format of an API that ends answers with an event of its own. `due`: until when
    other closes may show such a timeout.

    `decide` adds the fields of abort_reasons.Ended; `other` has some fields of world.clients.Request.

    `waited_for`: the server is a gateway that was waiting for another (WAITED_FOR). `is_gateway`: the client is one; a relay
    for the client of connection `relayed` if that is known. `retry`: it then repeated the request (RETRY). `again`: a
    Repetition, if the client sent a request again that is not idempotent.
    """

    connection: int
    exchange: int
    endpoint: int
    is_answer: bool
    is_stream: bool
    by_format: bool
    due: int
    severity: str | None
    kind: str | None
    side: str | None
    frame: int
    start: int
    early: dict[str, Any]
    ended_at: int
    wait: int
    sending: bool
    since: str
    nothing: bool
    quiet: int | None
    until_close: bool | None
    awaits_continue: bool
    whole: bool | None
    window_closed: bool
    request_user_agent: str | None
    request_framing: str | None
    request_body_bytes: int | None
    request_body_due: int | None
    response_frame: int | None
    response_start: int | None
    response_status: int | None
    response_framing: str | None
    response_body_bytes: int | None
    response_body_due: int | None
    large_head: int | None
    client_close_frame: int
    client_close_rst: int
    client_close_origin: str
    client_rst_frame: int | None
    client_rst_time: int | None
    server_close_frame: int | None
    server_close_time: int | None
    server_close_origin: str
    server_rst_mac: int | None
    silent: bool
    how: str | None
    span: int | None
    from_syn: int | None
    beside: int | None
    other: dict[str, Any] | None
    elsewhere: dict[str, Any] | None
    closed: int | None
    waiting: int | None
    waits: list[int] | None
    shown: list[list[int]] | None
    waited_for: dict[str, Any] | None
    retry: dict[str, Any] | None
    is_gateway: bool
    relayed: int | None
    again: dict[str, Any] | None
