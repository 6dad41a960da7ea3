"""Extend the SDK's MCP server: every request gets an answer, and invalid arguments are explained in one line."""

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

_SENTENCES = {
    "missing": "this argument is required",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be a text",
    "string_too_long": "must have at most {max_length} characters",
    "list_type": "must be a list of names",
    "too_long": "must have at most {max_length} names",
    "no_number": "must be a number, not true or false",
}
"""Sentences about invalid arguments, by pydantic's name for the error. Other errors are described with pydantic's own text."""

MAX_DIGITS = 19
"""The maximum number of digits of an integer that fits in 64 bits."""


class Server(MCPServer[Any]):
    """An MCP server that also answers unreadable messages. The SDK drops such messages, so the sender would wait forever."""

    async def call_tool(self, name: str, arguments: dict[str, Any] | None, *words: Any, **options: Any) -> Any:
        await self._check_names(name, arguments or {})
        try:
            return await super().call_tool(name, arguments or {}, *words, **options)
        except ToolError as error:
            # only if the arguments are invalid: the tool's own answer may also violate its schema
            if isinstance(error.__cause__, ValidationError) and error.__cause__.title.endswith("Arguments"):
                raise ToolError(_wrong_arguments(error.__cause__)) from None
            raise

    async def _check_names(self, name: str, arguments: dict[str, Any]) -> None:
        """Raise ToolError if `arguments` has a name that is not an argument of the tool `name`.

        The SDK would silently ignore such an argument, and the tool would answer a different question.
        """
        known = next((list(tool.input_schema["properties"]) for tool in await self.list_tools() if tool.name == name), None)
        wrong = [] if known is None else [given for given in arguments if given not in known]
        if wrong:
            shown = f"{shorten(clean(wrong[0]), 40)!r} is not an argument of {name}"
            raise ToolError(f"{shown}, which takes {', '.join(known or ())}" if known else f"{shown}, which takes none")

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
    """Describe invalid tool arguments in one line, without their values."""
    wrong = (
        f"{'.'.join(map(str, one['loc'][:2]))}: {_SENTENCES.get(one['type'], one['msg']).format(**one.get('ctx', {}))}"
        for one in error.errors(include_input=False)
    )
    return shorten(clean("; ".join(dict.fromkeys(wrong))), 500)


def refusal(error: Exception) -> JSONRPCError | None:
    """Return the error response to an unreadable message; None if the message is a notification, a response or an empty line.

    The response contains the id of the message if that is readable.
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
    # for a missing key, pydantic reports the complete object as the invalid input
    objects = (cast("dict[str, Any]", one) for one in inputs if isinstance(one, dict))
    message = next(objects, {"id": None})
    if "id" not in message if "method" in message else message.keys() & {"result", "error"}:
        return None
    try:
        answer = JSONRPCError(jsonrpc="2.0", id=message.get("id"), error=said)
        answer.model_dump_json()  # this raises an error for an id with a lone surrogate
        return answer
    except ValueError:
        return JSONRPCError(jsonrpc="2.0", id=None, error=said)


def _parse_leniently(text: str) -> Any:
    """Parse JSON that the SDK refuses (lone surrogates, long integers); return None if that fails as well."""
    try:
        return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) <= MAX_DIGITS else None)
    except (ValueError, RecursionError):
        return None
