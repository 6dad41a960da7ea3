"""The SDK's MCP server, except that every request gets an answer, and wrong arguments are explained in one line."""

from __future__ import annotations

import json
from typing import Any, cast

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp.types.jsonrpc import INVALID_REQUEST, PARSE_ERROR, ErrorData, JSONRPCError
from pydantic import ValidationError

from wiredoctor.report.words import clean, shorten

MOST_DIGITS = 19
"""Digits of an integer that fits in 64 bits."""


class Server(MCPServer[Any]):
    """A server that also answers messages that cannot be read: the SDK drops them, and their sender waits forever."""

    async def call_tool(self, *words: Any, **options: Any) -> Any:
        try:
            return await super().call_tool(*words, **options)
        except ToolError as error:
            # not an answer that breaks its schema
            if isinstance(error.__cause__, ValidationError) and error.__cause__.title.endswith("Arguments"):
                raise ToolError(_wrong_arguments(error.__cause__)) from None
            raise

    async def run_stdio_async(self) -> None:
        async with stdio_server() as (incoming, outgoing), anyio.create_task_group() as tasks:
            sender, receiver = anyio.create_memory_object_stream[SessionMessage | Exception]()

            async def pass_on() -> None:
                async with sender:
                    async for message in incoming:
                        if not isinstance(message, Exception):
                            await sender.send(message)
                        elif answer := refusal(message):
                            await outgoing.send(SessionMessage(answer))

            tasks.start_soon(pass_on)
            await self._lowlevel_server.run(receiver, outgoing, self._lowlevel_server.create_initialization_options())


def _wrong_arguments(error: ValidationError) -> str:
    """Write what is wrong with the arguments of a tool, without their values, as one line."""
    wrong = (f"{'.'.join(map(str, one['loc'][:2]))}: {one['msg']}" for one in error.errors(include_input=False))
    return shorten(clean("; ".join(dict.fromkeys(wrong))), 500)


def refusal(error: Exception) -> JSONRPCError | None:
    """Return the answer to a message that could not be read, with its id where it has a readable one.

    Notifications, responses and empty lines get none.
    """
    problems = error.errors(include_url=False) if isinstance(error, ValidationError) else []
    inputs: list[Any] = [one["input"] for one in problems]
    if problems and problems[0]["type"] == "json_invalid":
        if not inputs[0].strip():
            return None
        inputs = [_parse_leniently(inputs[0])]
        said = ErrorData(code=PARSE_ERROR, message=f"the message cannot be read: {problems[0]['msg']}")
    else:
        said = ErrorData(code=INVALID_REQUEST, message="the message is not a JSON-RPC 2.0 request")
    # an object that lacks a key is itself the input of that problem
    objects = (cast("dict[str, Any]", one) for one in inputs if isinstance(one, dict))
    message = next(objects, {"id": None})
    if "id" not in message if "method" in message else message.keys() & {"result", "error"}:
        return None
    try:
        answer = JSONRPCError(jsonrpc="2.0", id=message.get("id"), error=said)
        answer.model_dump_json()  # raises for an id with a lone surrogate
        return answer
    except ValueError:
        return JSONRPCError(jsonrpc="2.0", id=None, error=said)


def _parse_leniently(text: str) -> Any:
    """Parse JSON that the SDK refuses: lone surrogates, long integers; None if this does not help."""
    try:
        return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) <= MOST_DIGITS else None)
    except (ValueError, RecursionError):
        return None
