"""Recognize long polls: requests that a server answers only when the next event happens."""

from __future__ import annotations

import polars as pl

c = pl.col


def is_long_poll() -> pl.Expr:
    """Return whether the request is recognizable as a long poll.

    Such a request is a GET of an Engine.IO session (Socket.IO) or of SignalR, a GET or POST of CouchDB's `_changes` with
    feed=longpoll, or a POST to /http-bind, the usual path of BOSH (XEP-0124).
    """
    target = c("request_target").cast(pl.String)
    query = "&" + target.str.splitn("?", 2).struct.field("field_1") + "&"

    def has(text: str) -> pl.Expr:
        return query.str.contains(text, literal=True)

    poll = has("&transport=polling&") & has("&sid=")
    is_poll_path = target.str.to_lowercase().str.contains("/poll?", literal=True)
    signalr = is_poll_path & query.str.to_lowercase().str.contains("&transport=longpolling&", literal=True)
    couchdb = target.str.contains("/_changes?", literal=True) & has("&feed=longpoll&")
    method = c("request_method").cast(pl.String)
    bosh = (method == "POST") & target.str.contains(r"/http-bind/?$")
    return (((method == "GET") & (poll | signalr)) | (method.is_in(["GET", "POST"]) & couchdb) | bosh).fill_null(value=False)
