"""What had arrived when a side closed, worked out from the ACK numbers of a row by hand: the oracle of engine/ends.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BEFORE, NOTHING, PART_OF_HEAD, HEAD, ALL_BUT_A_BYTE, WHOLE, MORE = range(7)


def extent(taken: int | None, start: int | None, head: int | None, end: int | None) -> int | None:
    """How much of the bytes from `start` to `end` lies before `taken`; the first `head` bytes are the header section."""
    if taken is None or start is None:
        return None
    if taken <= start:
        return NOTHING if taken == start else BEFORE
    if taken < start + max(head or 0, 1):
        return PART_OF_HEAD
    left = None if end is None else end - taken
    if left is not None and left < 0:
        return MORE
    return HEAD if left is None else {0: WHOLE, 1: ALL_BUT_A_BYTE}.get(left, HEAD)


def arrivals(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns about what had arrived, from the ACK numbers and offsets of a row of `closes`."""

    def of(ack: str, message: str) -> int | None:
        return extent(row[ack], row[f"{message}_offset"], row[f"{message}_head_bytes"], row[f"{message}_end_offset"])

    closed, fin, rst = row["server_close_offset"], row["server_close_rst"] == 0, row["server_close_rst"] == 1
    asked, left, answered = row["request_ack"], row["client_close_ack"], row["response_ack"]
    before = [n for n in (asked, row["previous_end_offset"], 0 if row["handshake"] else None) if n is not None]
    parsed = row["response_end_offset"] if row["has_response"] else max(before, default=None)
    closed_before = row["client_close_frame"] is not None and row["client_close_frame"] < (row["response_frame"] or 0)
    fins = int(closed_before and row["client_close_rst"] == 0)  # a FIN takes a sequence number, too
    unparsed = None if answered is None else MORE if answered > fins else NOTHING
    end = None if closed is None or left is None or not fin else 0 if left < closed else 1 if left == closed else 2
    bare = rst and row["server_close_ack"] is None and closed is not None

    def beyond(place: int | None) -> int | None:
        return None if place is None or parsed is None else int(place > parsed)

    arrived = of("server_close_ack", "request")
    forged = row["server_close_contradicted"]
    server, client = row["server_close_frame"], row["client_close_frame"]
    certain = not forged and row["server_close_origin"] != "between" and row["server_unanswered_probes"] < 2
    if row["gap_before"] and arrived == MORE:
        certain = False
    if server is not None and (client is None or end == 2) and certain:
        first = "server"
    else:
        against = arrived in (BEFORE, NOTHING) and not forged
        later = client is None or end == 2 or (rst and server is not None and server < client)
        first = "" if against or later else "client"
    since = None if left is None or asked is None else BEFORE if left < asked else NOTHING if left == asked else MORE
    seen = None if asked is None or row["previous_end_offset"] is None else int(asked >= row["previous_end_offset"])
    return {
        "request_arrived": arrived,
        "request_arrived_at_response": of("response_ack", "request") if row["has_request"] else unparsed,
        "response_arrived": of("client_close_ack", "response"),
        "response_arrived_at_rst": of("client_rst_ack", "response"),
        "arrived_since_request": since,
        "previous_response_arrived": seen,
        "server_end_arrived": end,
        "server_fin_before_request": fin and closed is not None and asked is not None and asked > closed,
        "server_rst_answers_request": bare and asked == closed,
        "server_rst_answers_close": bare and left == closed,
        "server_sent_more": beyond(closed),
        "client_received_more": beyond(left),
        "response_goes_on": None not in (closed, row["response_end_offset"]) and row["response_end_offset"] > closed,
        "closed_first": first,
    }
