"""Recognize the event with which an API ends an answer that it streams, so the answer is complete whatever then ends the body.

Not every API has such an event: without one, a stream that broke off looks like one that its server ended on purpose.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class EndMark(NamedTuple):
    """How an API ends an answer. `pattern`: what only its last event contains. `source`: where that was read.

    A pattern for JSON begins with a bracket or a comma: in a text, a quotation mark after one of them is escaped.
    """

    api: str
    pattern: str
    source: str


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
    EndMark("OpenAI Chat Completions", _key("finish_reason", _TEXT), "openai 3.57, groq 1.7, mistralai 3.7"),
    EndMark("OpenAI Responses", _key("type", _word(*_RESPONSE_ENDS, "error")), "openai 3.57"),
    EndMark("OpenAI images and transcripts", _key("type", _word(*_OTHERS)), "openai 3.57"),
    EndMark("OpenAI Assistants", _event(r"thread\.run\.(?:completed|incomplete|failed|cancelled|expired)"), "openai 3.57"),
    EndMark("Anthropic Messages", _key("type", _word("message_stop")), "anthropic 2.14"),
    EndMark("Cohere", _key("(?:event_)?type", _word("message-end", "stream-end")), "cohere 7.3"),
    EndMark("Gemini", _key("finishReason", _TEXT), "google-genai 3.6"),
    EndMark("Gemini Interactions", _key("(?:event_)?type", _word("interaction.completed")), "google-genai 3.6"),
    EndMark("Mistral agents", _key("type", _word("conversation.response.done", "conversation.response.error")), "mistralai 3.7"),
    EndMark("Ollama", _key("done", "true"), "ollama 0.6"),
    EndMark("Ollama, and Replicate", _key("status", _word("success", "succeeded", "failed", "canceled")), "ollama 0.6"),
    EndMark("Text Generation Inference", _key("generated_text", '"'), "huggingface_hub 2.4"),
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


def has_end_mark(event: bytes) -> bool:
    """Return whether an API ends its answers with this event: its lines, without the empty line behind it."""
    return _ANY.search(event) is not None
