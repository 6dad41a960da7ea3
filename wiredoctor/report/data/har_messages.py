"""Build request and response of a HAR entry from the row of the exchange, its header sections and its bodies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from wiredoctor import limits
from wiredoctor.findings import printable, rfc3339
from wiredoctor.report.data.har_bodies import Body, content_text, decode
from wiredoctor.report.data.har_heads import Header, cookies, query, value_of
from wiredoctor.report.packets.message_bytes import ByteStore

Json = dict[str, Any]
Row = dict[str, Any]

_UNSAFE = re.compile(r"[^!#$&-;=?-Z_a-z~%\[\]*]")
"""Characters that a URI cannot contain unescaped (RFC 3986 section 2)."""


@dataclass
class Message:
    """The content of one HTTP message, as read from the packets.

    `headers`: the fields; None if the header section was not captured completely or the packets were not kept. `body`: None if
    bodies were not requested or nothing could be read.
    """

    headers: list[Header] | None
    body: Body | None


def body_of(stored: ByteStore, place: int, row: Row, part: str) -> Body:
    """Return the decoded body, or a `Body` with the reason why it is omitted.

    `place`: the index of the body's range in `stored`. `part`: "request" or "response".
    """
    if row[f"{part}_end_offset"] is None:
        return Body(None, "not complete in the capture") if row[f"{part}_body_bytes"] else Body(b"")
    if row[f"{part}_framing"] == "tunnel":
        return Body(None, "a tunnel")
    length = row[f"{part}_end_offset"] - row[f"{part}_offset"] - row[f"{part}_head_bytes"]
    if length > limits.HAR_BODY.value:
        return Body(None, f"left out: longer than {limits.HAR_BODY.text}")
    raw = stored.get(place)
    if raw is None:
        return Body(None, "left out: not completely captured")
    return decode(raw, chunked=row[f"{part}_framing"] == "chunked", coding=row[f"{part}_content_encoding"])


def request(row: Row, read: Message) -> Json:
    """Return the `request` of an entry."""
    headers = read.headers or []
    made: Json = {
        "method": printable(row["request_method"]),
        "url": url(row),
        "httpVersion": printable(row["request_version"]),
        "cookies": cookies(headers, "cookie"),
        "headers": headers,
        "queryString": query(printable(row["request_target"])),
        "headersSize": _size(row["request_head_bytes"]),
        "bodySize": _size(row["request_body_bytes"]),
    }
    if read.body is not None and read.body.content:
        text = content_text(read.body.content)
        kind = value_of(headers, "content-type") or row["request_content_type"]
        made["postData"] = {"mimeType": printable(kind), "params": [], "text": text["text"]}
        if "encoding" in text:
            made["postData"] |= {"_encoding": "base64", "comment": "text is in base64"}
    if read.headers is None:
        made["comment"] = "header fields are omitted: the header section was not captured completely"
    return made


def response(row: Row, read: Message, first: int, *, secrets: bool) -> Json:
    """Return the `response` of an entry. `first`: start of the capture (ns since 1970)."""
    if not row["has_response"]:
        return {
            **{"status": 0, "statusText": "", "httpVersion": "", "cookies": [], "headers": []},
            "content": {"size": 0, "mimeType": "x-unknown"},
            **{"redirectURL": "", "headersSize": -1, "bodySize": -1, "comment": "no response in the capture"},
            "_error": "no response in the capture",
        }
    headers = read.headers or []
    made: Json = {
        "status": row["response_status"] or 0,
        "statusText": printable(row["response_reason"]),
        "httpVersion": printable(row["response_version"]),
        "cookies": cookies(headers, "set-cookie"),
        "headers": headers,
        "content": _content(row, read),
        "redirectURL": value_of(headers, "location") if secrets else "",
        "headersSize": _size(row["response_head_bytes"]),
        "bodySize": _size(row["response_body_bytes"]),
    }
    if row["response_end_reason"] != "complete":
        made["_error"] = f"the response is not complete: {row['response_end_reason']}"
    if row["interim"]:
        times = [rfc3339(first + time) for time in row["interim_times"]]
        made["_interim"] = [{"status": s, "startedDateTime": t} for s, t in zip(row["interim"], times, strict=True)]
    if read.headers is None:
        made["comment"] = "header fields are omitted: the header section was not captured completely"
    return made


def _content(row: Row, read: Message) -> Json:
    sent = max(0, row["response_body_bytes"] or 0)
    content: Json = {"size": sent, "mimeType": printable(row["response_content_type"]) or "x-unknown"}
    if read.body is None:
        return content
    if read.body.content is not None:
        content |= {
            "size": len(read.body.content),
            "compression": len(read.body.content) - sent,
            **content_text(read.body.content),
        }
    return content | ({"comment": read.body.comment} if read.body.comment else {})


def _size(length: int | None) -> int:
    return -1 if length is None else length


def url(row: Row) -> str:
    """Return the redacted target URI of a request (RFC 9112 section 3.3), with the server's address if it has no Host field."""
    target, host = row["request_target"], row["request_host"] or row["server"] or "unknown"
    if row["request_method"] == "CONNECT":
        text = f"http://{target}/"
    elif re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", target):
        text = target
    else:
        text = f"http://{host}{'' if target.startswith('/') else '/'}{target}"
    return _UNSAFE.sub(lambda sign: "".join(f"%{byte:02X}" for byte in sign[0].encode("latin-1", "replace")), text)
