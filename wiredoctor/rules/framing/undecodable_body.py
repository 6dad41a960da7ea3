"""The body is not in the content coding that its head names.

What it means
    Content-Encoding says that the body is compressed with gzip or zstd. Its first byte shows that it is not: usually it is the
    plain content.

Why it hurts
    A client that decompresses the body fails, although the status is 200 and every byte has arrived. Browsers report
    ERR_CONTENT_DECODING_FAILED, and libraries "incorrect header check" or "not a gzipped file". A client that does not
    decompress, such as curl without --compressed, notices nothing. So the same response works in one program and fails in
    another.

How it is proved
    The first byte of the body is in the capture. Gzip data begins with 1f, Zstandard data with 28 (a frame) or with 50 to 5f (a
    skippable frame); this body begins with another byte. Other codings have no such byte and are not checked.

What it is not
    The body of a 206 may begin anywhere in the compressed data. If the head names several codings, nothing is reported. An
    uncompressed body without Content-Encoding is not a fault. Transfer-Encoding is about the transfer and not about the content:
    see unfinished-transfer-coding.

What to do
    Have only the program that compresses the body set Content-Encoding. If a proxy decompresses a body, it must remove the
    field.

References
    RFC 9110 sections 8.4 and 8.4.1. RFC 1952 section 2.3.1. RFC 8878 section 3.1.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.shared.framing_faults import Facts, candidates, words_of_fault

_FAULTS = {"body-not-gzip": "gzip", "body-not-zstd": "zstd"}

RULE = Rule(
    symptom="*ERR_CONTENT_DECODING_FAILED*, *incorrect header check*",
    severity="warning",
    title="The body of a {what} is not {coding}, although its Content-Encoding says so",
    message="Content-Encoding in the head of the {what} names {coding}, but the body begins with {begins}, which is not the "
    "beginning of {coding} data. Recipients that decompress the body fail. Those that do not, such as curl without --compressed, "
    "notice nothing.",
    remedy="Have the {side} send Content-Encoding: {coding} only with a body that is compressed. Look for a handler that copies "
    "the fields of another {what}, such as a proxy whose HTTP client has already decompressed the body; for a field that is set "
    "for all files with a certain extension; and for a compression filter that is off or was bypassed while the field is still "
    "set.",
    references=(
        Reference("RFC 9110 section 8.4, Content-Encoding", "https://www.rfc-editor.org/rfc/rfc9110.html#section-8.4"),
        Reference("RFC 1952 section 2.3, gzip member format", "https://www.rfc-editor.org/rfc/rfc1952.html#section-2.3"),
        Reference("RFC 8878 section 3.1, Zstandard frames", "https://www.rfc-editor.org/rfc/rfc8878.html#section-3.1"),
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
    """Return a row for each body whose first byte contradicts the Content-Encoding in its head."""
    return candidates(faults, _FAULTS)


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the body, and about the coding in which it should be."""
    coding, begins = _FAULTS[x.fault], f'"{x.excerpt}"'
    proof = f"its body begins with {begins}, which is not {coding}"
    return {"coding": coding, "begins": begins, **words_of_fault(x, proof)}
