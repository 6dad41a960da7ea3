"""Write the texts about why a client ended an exchange early (abort_reasons.Ended), for `client-abort`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from wiredoctor.findings import shorten
from wiredoctor.rules.shared.abort_reasons import Ended
from wiredoctor.rules.shared.evidence import packet_row
from wiredoctor.text import redact
from wiredoctor.text.durations import duration_text
from wiredoctor.text.escape import REQUEST_LENGTH, printable
from wiredoctor.world.clients import Request
from wiredoctor.world.products import default

_OF_OTHERS = ("waits", "instead", "who_left", "left_means", "filter")

REASON_TEXTS = (
    *_OF_OTHERS,
    *("unread", "unread_means", "unread_remedy", "superseded", "superseded_means", "superseded_remedy"),
)
"""The text columns of `reason_columns`."""


def reason_columns(one: Ended, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a candidate that depend on the reason: those in REASON_TEXTS, and `more`, further evidence.

    `row`: the candidate with the columns of abort_reasons.decide, and `response_status`, `read` and `large_head`.
    """
    return {
        **_texts_of_others(one, row["connection"]),
        **_unread_texts(one, row["response_status"], row["read"], row["large_head"]),
        **_superseded_texts(one, row["ended_at"]),
    }


def _texts_of_others(one: Ended, connection: int) -> dict[str, Any]:
    """Return what depends on the client's other connections: the texts in _OF_OTHERS, and `more`, the packets that prove it.

    `one`: the reason why the client ended the exchange. `connection`: the candidate's connection.
    """
    own = f"tcp.stream == {connection} && "
    told: dict[str, Any] = {**dict.fromkeys(_OF_OTHERS, ""), "filter": own, "more": []}
    told["who_left"] = "A media player stopped" if one.plays else "The client's user or program stopped waiting"
    if one.other is not None:
        asked = shorten(_request_text(one.other), REQUEST_LENGTH)
        part = "" if one.other.range_start is None else f" from byte {one.other.range_start:,} on"
        told["who_left"], told["instead"] = "The user left", f"{asked}{part}"
        told["left_means"] = (
            f" A page was loading ({asked}), and the same client requested nothing for the next 5 s: the page was closed."
            if one.closed
            else f" At that time the same client requested a page: {asked}."
        )
        note = f"the same client requests {asked}{part}"
        told |= {"filter": "", "more": [packet_row(one.other.frame, one.other.start, note)]}
    elif one.plays:
        told["left_means"] = " The client plays media: the user stopped it, or it had the part that it wanted."
    elif one.longest:
        told["left_means"] = (
            f" The client had once waited {duration_text(one.longest)} for the response to a similar request, so its timeout is "
            "not shorter."
        )
    elif one.too_soon:
        told["left_means"] = (
            f" A response takes at least a round trip ({duration_text(one.too_soon)}), and the client did not wait "
            f"{'for the response that was on its way' if one.crosses else 'that long'}: "
            "its user or its program ended the request."
        )
    waits = sorted(close.waited for close in one.others if close.waited is not None)
    if one.others:
        span = f" (for {duration_text(waits[0])} to {duration_text(waits[-1])})" if len(waits) > 1 else ""
        told["waits"] = (
            f" and was waiting for a response on {len(waits):,} of them{span}"
            if len(waits) < len(one.others)
            else f" and was waiting for a response on all of them{span}"
        )
        more = [close for close in one.others if close.connection != connection][:_SHOWN]
        notes = [packet_row(close.frame, close.time, f"the client closes connection {close.connection}") for close in more]
        told |= {"filter": "", "more": notes}
    return told


def _unread_texts(one: Ended, status: int | None, read: int | None, large_head: int | None) -> dict[str, str]:
    """Return the texts for the kind unread.

    `status`: the status of the response. `read`: the time (ns) from the start of the response to the client's close.
    `large_head`: the size in bytes of a response head that the client may have rejected.
    """
    if one.not_awaited:
        return {
            "unread": "right after its request, without waiting for the response",
            "unread_means": " The FIN followed the request at once: the client did not wait.",
            "unread_remedy": "If it matters whether the request succeeded, have the client read the response before it closes. "
            "Some servers stop their work for a client that has closed.",
        }
    if large_head is not None:
        return {
            "unread": f"after the head of the {status}, which may be too large for the client",
            "unread_means": f" The head has {large_head:,} bytes, and no byte of the body had come. The client closed "
            f"{duration_text(read or 0)} after the response began: the head may exceed the client's limit, or the client did not "
            "want the body.",
            "unread_remedy": "Compare the size of the head with the limits of the client (nginx as a proxy: proxy_buffer_size, "
            f"{default('nginx', 'proxy_buffer_size')} kB by default; its error log then says upstream sent too big header), and "
            "have the server send fewer or smaller fields. ",
        }
    return {
        "unread": f"after the head of the {status}: it did not want the body",
        "unread_means": f" It had received the head of the response, and closed {duration_text(read or 0)} after the response "
        "began. A client with a limit on the size of responses closes like this, too.",
        "unread_remedy": "If a check needs only the status, have it use HEAD or request a small page. If the client wants to "
        "reuse the connection, have it read the body to its end (Go: io.Copy(io.Discard, response.Body)). If the response was "
        "too large for the client, raise the client's limit (axios maxContentLength, libcurl CURLOPT_MAXFILESIZE).",
    }


def _superseded_texts(one: Ended, ended_at: int) -> dict[str, str]:
    """Return the texts for the kind superseded; empty texts if no other request is known. `ended_at`: the client's close (ns)."""
    if one.other is None:
        return dict.fromkeys(("superseded", "superseded_means", "superseded_remedy"), "")
    if one.hedged:
        return {
            "superseded": "had the response to another copy of its request, and canceled this copy",
            "superseded_means": f" It had sent the same request on connection {one.other.connection} and got {one.other.status}.",
            "superseded_remedy": "To avoid needless copies, have the client wait longer before it sends a second copy.",
        }
    asked = shorten(_request_text(one.other), REQUEST_LENGTH)
    other = f"{asked} (with another query)" if "?" in asked else asked
    return {
        "superseded": "replaced its request with another one",
        "superseded_means": f" Within {duration_text(abs(one.other.start - ended_at))} of that, it requested {other} instead.",
        "superseded_remedy": "To avoid needless requests, have the client wait for a pause in typing before it sends a request.",
    }


def _request_text(one: Request) -> str:
    return printable(f"{redact.method(one.method)} {redact.target(one.target)}")


_SHOWN = 3
"""The maximum number of other connections, closed at the same moment, that are shown as evidence."""


def timeout_texts_from_syn(seconds: list[int | None]) -> list[pl.Expr]:
    """Return the text columns for timeouts that began with the first of several SYNs.

    `seconds`: the timeout of each row; None for rows whose texts remain unchanged.
    """
    texts = {
        "timeout_named": ": a timeout of about {} s",
        "timeout_means": " It had sent its first SYN {} s before it closed, and had to retransmit it: a timeout expired.",
        "timeout_where": " Look for a timeout of about {} s in the client.",
    }
    known = pl.lit(pl.Series("from_syn", seconds, pl.Int64))
    return [pl.when(known.is_not_null()).then(pl.format(text, known)).otherwise(name).alias(name) for name, text in texts.items()]


def timeout_texts_beside(counts: list[int]) -> list[pl.Expr]:
    """Return the text columns for timeouts at which the client also closed idle connections: its program may have ended.

    `counts`: the number of these connections for each row; the texts of rows with 0 remain unchanged.
    """
    said = ["an idle connection to this server" if n == 1 else f"{n:,} idle connections to this server" for n in counts]
    beside = pl.lit(pl.Series("beside", counts, pl.Int64)) > 0
    text = " A client timeout of about {} s may have expired, or the client's program ended: it closed {} at the same moment."
    means = pl.format(text, "timeout", pl.lit(pl.Series("said", said, pl.String)))
    return [
        pl.when(beside).then(pl.lit("")).otherwise("timeout_named").alias("timeout_named"),
        pl.when(beside).then(means).otherwise("timeout_means").alias("timeout_means"),
    ]
