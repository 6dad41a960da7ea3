"""The body is not in the content coding that its head names, or its content ends too early.

What it means
    Content-Encoding says that the body is compressed. Its first byte shows that it is not: usually it is the plain content.

    Kind unfinished: the compressed data ends before its end marker, although the body is complete by its length.
    Kind checksum: the decoded content does not match the checksum or the length at the end of the compressed data.
    Kind broken: the data cannot be decoded from some byte on.
    Kind unknown: Content-Encoding names a charset, a media type, an unset value such as null, or another word that is no coding.
    Kind json: a complete 200 has half a JSON document: it ends inside an object, an array or a string.
    Kind members: the gzip data consists of several members, one after the other, and some clients read only the first.

Why it hurts
    A client that decompresses the body fails, although the status is 200 and every byte has arrived. Browsers report
    ERR_CONTENT_DECODING_FAILED, and libraries "incorrect header check" or "not a gzipped file". A client that does not
    decompress, such as curl without --compressed, notices nothing. So the same response works in one program and fails in
    another. Some readers accept data without its end or with a wrong checksum, and use wrong content.

    Kind unknown: only programs on libcurl that decompress fail (curl --compressed: error 61); others ignore the field. The word
    none is a note: servers of event streams send it on purpose, so that no filter compresses the stream.
    Kind json: the parser of the client fails ("Unterminated string", "unexpected end of JSON input"). Neither log shows an error.
    Kind members: httpx 0.28, on which the Python SDKs of OpenAI and Anthropic are built, returns only the beginning of the
    content, and no error. curl 7.88 fails (error 23). Node's fetch, requests and aiohttp read all members.

How it is proved
    The first byte of the body is in the capture. Gzip data begins with 1f, Zstandard data with 28 (a frame) or with 50 to 5f (a
    skippable frame); this body begins with another byte. Kinds unfinished, checksum and broken: gzip, deflate, Zstandard and
    Brotli (br, if the package brotli is installed) are decoded to the end of the body. Every byte of it must be in the capture.
    Several gzip members in sequence are one body, and deflate may lack its zlib header, because most clients accept that. Kind
    members: at least two of them have content; in an event stream, up to the last event that was decoded.
    Brotli has no first byte of its own and no checksum, so only data that is cut off or invalid is noticed. Kind json: a parser
    accepts the document up to its last byte, and there it needs more.

    Data is decoded up to 64 MiB, and documents of JSON are kept up to 256 KiB. Larger bodies are not judged.

    If a gateway only passed the body on, the finding is about the server behind it.

What it is not
    The body of a 206 may begin anywhere in the compressed data. If the head names several codings, nothing is reported. An
    uncompressed body without Content-Encoding is not a fault. Transfer-Encoding is about the transfer and not about the content:
    see unfinished-transfer-coding. Bytes after the end of the compressed data are ignored. After Brotli data, they are not: curl
    and Python's clients refuse them.

    A response that broke off is reported by truncated-response, and a request that broke off by unfinished-request. If a body
    ends with its connection, and the client closed first, its end is not judged. Event streams may end anywhere. Kind members is
    a note unless User-Agent names httpx or one of these SDKs, because most clients read all members. Kind unknown is not reported
    for requests, nor for words that may be a private coding, such as Prometheus's snappy. Kind json is not reported
    if the document is wrong before its end, if several values or rows follow one another, or if the body is empty.

What to do
    Have only the program that compresses the body set Content-Encoding. If a proxy decompresses a body, it must remove the
    field. Kinds unfinished and checksum: have the program close its compressor before it counts the length, and look for filters
    that change compressed bytes. Kind members: compress the whole body with one compressor, and flush it after each part.
    Kind json: look for a length that was counted in characters, and for a buffer or a query that was cut off.

References
    RFC 9110 sections 8.4 and 8.4.1. RFC 1952 section 2.3.1. RFC 8878 section 3.1. RFC 7932. RFC 8259 section 2.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, ClassVar

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.shared.framing_faults import Facts, candidates, words_of_fault
from wiredoctor.world import CaptureTables, Index, World
from wiredoctor.world.attempts import host_of

c = pl.col

_FAULTS = {"body-not-gzip": "gzip", "body-not-zstd": "zstd"}

_SEVERAL_MEMBERS = "several-members"
_KINDS = {
    "unfinished-coding": "unfinished",
    "wrong-checksum": "checksum",
    "broken-coding": "broken",
    "unknown-coding": "unknown",
    "cut-json": "json",
    _SEVERAL_MEMBERS: "members",
}
"""The kinds of the faults that have one."""

_FAIL = (
    "Recipients that decompress the body fail, or use wrong content. Those that do not, such as curl without --compressed, "
    "notice nothing."
)

_CHANGED = (
    "Look in the {side} for a filter that changes compressed bytes (a rewritten link, an inserted script, a converted "
    "charset), and for a file or cache entry that was written by two programs at once."
)

RULE = Rule(
    symptom="*ERR_CONTENT_DECODING_FAILED*, *incorrect header check*, half a document",
    severity={None: "warning", **dict.fromkeys(_KINDS.values(), "warning")},
    title={
        None: "The body of a {what} is not {coding}, although its Content-Encoding says so",
        "unfinished": "The {coding} data of a {what} ends before its end marker",
        "checksum": "The {coding} data of a {what} has a wrong checksum",
        "broken": "The {coding} data of a {what} cannot be decoded",
        "unknown": "The Content-Encoding of a {what} is {coding}, which is no content coding",
        "json": "The JSON document of a {what} ends inside a value",
        "members": "The gzip data of a {what} consists of {coding}: some clients read only the first",
    },
    message={
        None: "Content-Encoding in the head of the {what} names {coding}, but the body begins with {begins}, which is not the "
        "beginning of {coding} data. Recipients that decompress the body fail. Those that do not, such as curl without "
        "--compressed, notice nothing.",
        "unfinished": "The body of the {what} is complete by its framing, but its {coding} data is not: the end marker is "
        "missing. " + _FAIL,
        "checksum": "The {coding} data of the {what} decodes, but the result does not match the checksum and length at its end. "
        + _FAIL,
        "broken": "The {coding} data of the {what} is invalid from this packet on. " + _FAIL,
        "unknown": "Content-Encoding in the head of the {what} is {coding}. Programs on libcurl that decompress, such as curl "
        "--compressed, refuse the body (error 61, unrecognized content encoding type); most others ignore the field.",
        "json": "The body of the {what} is complete by its framing, but its JSON document is not: it ends with {begins}, inside "
        "an object, an array or a string. No JSON parser accepts it.",
        "members": "The body of the {what} is gzip data of {coding}, one after the other. RFC 1952 allows that, but some clients "
        "end with the first, and get only the beginning of the content, without an error.{affected}",
    },
    remedy={
        None: "Have the {side} send Content-Encoding: {coding} only with a body that is compressed. Look for a handler that "
        "copies the fields of another {what}, such as a proxy whose HTTP client has already decompressed the body; for a field "
        "that is set for all files with a certain extension; and for a compression filter that is off or was bypassed while the "
        "field is still set.",
        "unfinished": "Have the {side} finish its compressor (close, end, finish) before it counts Content-Length or ends the "
        "body. Look for a file or cache entry that was compressed only in part.",
        "checksum": _CHANGED,
        "broken": _CHANGED,
        "unknown": "Have the {side} remove the field. A charset belongs into Content-Type (text/html; charset=utf-8).",
        "json": "Find out where the {side} loses the rest: a Content-Length that was counted in characters instead of bytes, a "
        "buffer that is too small, or an exception while the document was written.",
        "members": "Have the {side} compress the whole body with one compressor, and flush it after each part, or turn "
        "compression off for this path. Django 5.2: GZipMiddleware makes a member of each part of an asynchronous response.",
    },
    references=(
        Reference("RFC 9110 section 8.4, Content-Encoding", "https://www.rfc-editor.org/rfc/rfc9110.html#section-8.4"),
        Reference("RFC 1952 section 2.3, gzip member format", "https://www.rfc-editor.org/rfc/rfc1952.html#section-2.3"),
        Reference("RFC 8878 section 3.1, Zstandard frames", "https://www.rfc-editor.org/rfc/rfc8878.html#section-3.1"),
        Reference("RFC 8259 section 2, JSON grammar", "https://www.rfc-editor.org/rfc/rfc8259.html#section-2"),
    ),
    advice=(
        Advice(
            "server",
            "Python/|uvicorn|Werkzeug|gunicorn",
            "Python: requests, httpx and aiohttp decompress the body, so a proxy that is built with them must not copy "
            "Content-Encoding and Content-Length.",
        ),
    ),
)


def find(faults: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each body whose content contradicts its head, or ends too early."""
    kind = c("fault").replace_strict(_KINDS, default=None)
    on_purpose = (c("fault") == "unknown-coding") & (c("excerpt") == "none")
    severity = pl.when(on_purpose | (c("fault") == _SEVERAL_MEMBERS)).then(pl.lit("note"))
    return candidates(faults, [*_FAULTS, *_KINDS], c("time").alias("due"), kind=kind, severity=severity)


class PassedBodies(Index):
    """The bodies that a host received from a server and passed on: the connections and exchanges on which they were passed on."""

    NEEDS: ClassVar[tuple[str, ...]] = ("connection", "exchange", "fault", "excerpt", "request_time", "end")
    HELD: ClassVar[bool] = True

    def __init__(self, passed: Collection[tuple[int, int]]) -> None:
        self.passed = passed

    @classmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> PassedBodies:
        """Return which of the candidates another one explains (see world.Index)."""
        ends = tables.connections.select("connection", "server", "client_host", host_of("server").alias("host"))
        own = pl.concat(wanted).lazy().select(cls.NEEDS).join(ends, on="connection")
        pairs = own.join(
            own, left_on=["host", "fault", "excerpt"], right_on=["client_host", "fault", "excerpt"], suffix="_behind"
        )
        is_inside = (c("request_time") <= c("request_time_behind")) & (c("end_behind") <= c("end"))
        passed = pairs.filter(is_inside & (c("server") != c("server_behind"))).select("connection", "exchange").unique()
        return cls({*passed.collect().iter_rows()})


class FirstMemberReaders(Index):
    """The exchanges whose client is known to read only the first gzip member of a body."""

    NEEDS: ClassVar[tuple[str, ...]] = ("connection", "exchange", "fault")

    def __init__(self, exchanges: Collection[tuple[int, int]]) -> None:
        self.exchanges = exchanges

    @classmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> FirstMemberReaders:
        """Return the answers about these candidates (see world.Index)."""
        place = ["connection", "exchange"]
        own = pl.concat(wanted).filter(c("fault") == _SEVERAL_MEMBERS).select(place)
        if own.is_empty():
            return cls(())
        agent = c("request_user_agent").cast(pl.String)
        found = tables.exchanges().filter(agent.str.contains(_ON_HTTPX)).select(place).join(own.lazy(), on=place, how="semi")
        return cls({*found.collect().iter_rows()})


_ON_HTTPX = r"^(python-httpx|(Async)?(OpenAI|Anthropic)/Python)"
"""User-Agent fields of httpx (0.28, whose decoder ignores all members but the first), and of SDKs that are built on it."""

ASKS = (PassedBodies, FirstMemberReaders)


def decide(x: Facts, world: World) -> Facts | None:
    """Drop a body that a gateway only passed on: during the exchange, its host received one with the same fault."""
    if (x.connection, x.exchange) in world.of(PassedBodies).passed:
        return None
    return x._replace(severity=None) if (x.connection, x.exchange) in world.of(FirstMemberReaders).exchanges else x


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the body, and about the coding in which it should be."""
    coding, begins = _FAULTS.get(x.fault, x.excerpt), f'"{x.excerpt}"'
    proof = _PROOFS.get(x.fault, "its body begins with {begins}, which is not {coding}").format(begins=begins, coding=coding)
    affected = " The client of this exchange is one of them." if x.fault == _SEVERAL_MEMBERS and x.severity is None else ""
    return {"coding": coding, "begins": begins, "affected": affected, **words_of_fault(x, proof)}


_PROOFS = {
    _SEVERAL_MEMBERS: "the end of its body: {coding} with content",
    "unfinished-coding": "the end of its body: the {coding} data has no end marker",
    "wrong-checksum": "the end of its {coding} data: the checksum or length is wrong",
    "broken-coding": "its {coding} data is invalid here",
    "unknown-coding": "its body; Content-Encoding is {coding}",
    "cut-json": "the end of its body: {begins}",
}
"""The note for the packet that shows the fault."""
