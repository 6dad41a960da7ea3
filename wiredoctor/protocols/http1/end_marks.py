"""Recognize the event with which an API ends an answer that it streams, so the answer is complete whatever then ends the body.

Not every API has such an event: without one, a stream that broke off looks like one that its server ended on purpose. Events are
read as they were sent, without the empty line behind each. Of a long event, only the beginning and the end are known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast
from zlib import crc32

from wiredoctor.tables import DONE_EVENT, ERROR_EVENT, MARKED_EVENT, MAYBE_ERROR_EVENT, NO_EVENT, OTHER_EVENT, REPEATED_EVENT


class EndMark(NamedTuple):
    """How an API ends an answer. `pattern`: what only its last event contains. `source`: where that was read.

    `format`: what its first events contain, so the last one is due; "" if they look like those of other APIs. A pattern for JSON
    begins with a bracket or a comma: in a text, a quotation mark after one of them is escaped.
    """

    api: str
    pattern: str
    source: str
    format: str = ""


def _key(name: str, value: str) -> str:
    """Return a pattern for a member of a JSON object. `value`: a pattern for the beginning of its value."""
    return rf'[{{,]\s*"{name}"\s*:\s*{value}'


def _word(*words: str) -> str:
    """Return a pattern for a text that is one of these."""
    return rf'"(?:{"|".join(map(re.escape, words))})"'


def _event(*names: str) -> str:
    """Return a pattern for a line with the name of an event (WHATWG HTML section 9.2.5)."""
    return rf"(?m:^event: ?(?:{'|'.join(names)})\s*$)"


_TEXT = r'"(?!null")[^"]'
_RESPONSE_ENDS = ("response.completed", "response.incomplete", "response.failed")
_OTHERS = ("transcript.text.done", "image_generation.completed", "image_edit.completed")

END_MARKS = (
    EndMark("OpenAI Chat Completions", r"(?m:^data: ?\[DONE\])", "openai 3.57"),
    EndMark(
        "OpenAI Chat Completions",
        _key("finish_reason", _TEXT),
        "openai 3.57, groq 1.7, mistralai 3.7",
        _key("object", _word("chat.completion.chunk")) + "|" + _key("finish_reason", '(?:null|"null")'),
    ),
    EndMark(
        "OpenAI Responses",
        _key("type", _word(*_RESPONSE_ENDS, "error")),
        "openai 3.57",
        _key("type", _word("response.created")),
    ),
    EndMark("OpenAI images and transcripts", _key("type", _word(*_OTHERS)), "openai 3.57"),
    EndMark("OpenAI Assistants", _event(r"thread\.run\.(?:completed|incomplete|failed|cancelled|expired)"), "openai 3.57"),
    EndMark("Anthropic Messages", _key("type", _word("message_stop")), "anthropic 2.14", _key("type", _word("message_start"))),
    EndMark(
        "Cohere",
        _key("(?:event_)?type", _word("message-end", "stream-end")),
        "cohere 7.3",
        _key("type", _word("message-start")),
    ),
    EndMark("Gemini", _key("finishReason", _TEXT), "google-genai 3.6"),
    EndMark("Gemini Interactions", _key("(?:event_)?type", _word("interaction.completed")), "google-genai 3.6"),
    EndMark("Mistral agents", _key("type", _word("conversation.response.done", "conversation.response.error")), "mistralai 3.7"),
    EndMark("Ollama", _key("done", "true"), "ollama 0.6", _key("done", "false")),
    EndMark("Ollama, and Replicate", _key("status", _word("success", "succeeded", "failed", "canceled")), "ollama 0.6"),
    EndMark("Text Generation Inference", _key("generated_text", '"'), "huggingface_hub 2.4", _key("generated_text", "null")),
    EndMark("llama.cpp", _key("stop", "true"), "its server's manual, not tried"),
    EndMark("AI SDK", _key("type", _word("finish", "abort")), "ai 6.0"),
    EndMark("Dify", _key("event", _word("message_end", "workflow_finished")), "its manual, not tried"),
    EndMark("A2A", _key("state", _word("completed", "failed", "canceled", "rejected")), "litellm 1.110"),
    EndMark("MCP", rf"{_key('result', '[{]')}|{_key('error', '[{]')}", "mcp 1.32"),
    EndMark(
        "LangServe, LangGraph, graphql-sse and others", _event("end", "complete", "error"), "langgraph-sdk 0.4, graphql-sse 2.6"
    ),
)

_ANY = re.compile("|".join(f"(?:{mark.pattern})" for mark in END_MARKS).encode())
_FORMATS = re.compile("|".join(f"(?:{mark.format})" for mark in END_MARKS if mark.format).encode())

_DATA = re.compile(rb"^data: ?(.*)$", re.MULTILINE)
_NAME = re.compile(rb"^event: ?(.*)$", re.MULTILINE)
_STOPS = re.compile(
    rb'(?i)"[\w/.:-]*(?:stop|cancel|abort)[\w/.:-]*"\s*[,}]|mutation\b[^"]*?(?:stop|cancel|abort)|<[^<>]*(?:stop|cancel|abort)'
)
SHORT_BODY: Final = 1024
"""The maximum size in bytes of a request's body that may ask a server to stop; longer ones are calls."""


def has_end_mark(event: bytes) -> bool:
    """Return whether an API ends its answers with this event."""
    return _ANY.search(event) is not None


def has_format(events: Sequence[bytes]) -> bool:
    """Return whether one of these first events is of an API whose answers end with a mark."""
    return any(_FORMATS.search(event) for event in events)


def asks_to_stop(body: bytes) -> bool:
    """Return whether the body of a request names a call that stops something, as GraphQL's and MCP's do.

    A text with spaces is a question to a model, and its member "stop" lists texts that end its answer.
    """
    return _STOPS.search(body) is not None


LEAST_HASHED: Final = 64
"""The minimum size in bytes of the first events of a stream that are compared with those of others."""


class _Event(NamedTuple):
    """An event: its name, its data, and the data as a JSON object; None if it is none."""

    name: bytes
    data: bytes
    members: dict[str, Any] | None

    @property
    def shape(self) -> tuple[bytes, str, frozenset[str] | None]:
        """What the events of one kind share: the name, the type, and the names of the members."""
        members = self.members
        return self.name, str((members or {}).get("type", "")), None if members is None else frozenset(members)


def _parse(event: bytes) -> _Event:
    """Parse an event of text/event-stream (WHATWG HTML section 9.2.5), or a line of JSON."""
    name, data = _NAME.search(event), b"\n".join(_DATA.findall(event))
    if not data and event.lstrip().startswith(b"{"):
        data = event
    try:
        found = json.loads(data) if data.lstrip().startswith(b"{") else None
    except (ValueError, RecursionError):  # bytes that are not UTF-8 are a ValueError, too
        found = None
    return _Event(b"" if name is None else name[1].strip(), data.strip(), cast("dict[str, Any]", found) if found else None)


def first_shape(events: Sequence[bytes]) -> int:
    """Return a number for the shape of the first of these events that has data; 0 if none has."""
    shapes = (one.shape for one in map(_parse, events) if one.data)
    return next((crc32(repr((*one[:2], one[2] and sorted(one[2]))).encode()) for one in shapes), 0)


def first_hash(events: Sequence[bytes]) -> int:
    """Return a number for the content of these events; 0 if it has less than LEAST_HASHED bytes, which others may send, too."""
    if sum(map(len, events)) < LEAST_HASHED:
        return 0
    from hashlib import blake2b  # imported only when needed, because it loads OpenSSL

    return int.from_bytes(blake2b(b"\n\n".join(events), digest_size=8).digest(), "big", signed=True)


def classify_last(earlier: Sequence[bytes], last: bytes, errors: int) -> int:
    """Return what the last event of a stream is, such as tables.DONE_EVENT.

    `earlier`: some events before it, the newest last. `errors`: the number of members "error" in the stream.
    """
    event, others = _parse(last), [_parse(one) for one in earlier]
    if not event.data:
        return OTHER_EVENT if any(one.data for one in others) else NO_EVENT
    is_done = event.data == b"[DONE]"
    newest = others.pop() if is_done and others else event
    error = _error(newest, errors)
    if error and not any(_error(one, errors) for one in others):
        return error
    if is_done:
        return DONE_EVENT
    if has_end_mark(last):
        return MARKED_EVENT
    return REPEATED_EVENT if event.shape in {one.shape for one in others} else OTHER_EVENT


def _error(event: _Event, errors: int) -> int:
    """Return ERROR_EVENT, MAYBE_ERROR_EVENT, or 0 for an event that is no error."""
    members = event.members or {}
    if "jsonrpc" in members or "result" in members or "method" in members:
        return 0
    if event.name == b"error" or members.get("type") == "error":
        return ERROR_EVENT
    error: Any = members.get("error")
    known = bool(error) and isinstance(error, (dict, str))
    is_error = known and (isinstance(error, str) or cast("dict[str, Any]", error).get("code", 1) not in (0, "0"))
    return MAYBE_ERROR_EVENT if is_error and errors <= 1 else 0
