"""Build the JSON Schema (draft 2020-12) of JSON reports, version 1, which `wiredoctor schema` prints."""

from __future__ import annotations

from typing import Any

from wiredoctor.findings.keys import KEYS, Key
from wiredoctor.report.data.json_keys import BODY, HEAD
from wiredoctor.report.data.row_keys import CONNECTION, EXCHANGE

_PRINTABLE = "^[ -~]*$"

_TABLES = (
    Key("findings", "objects", "all findings", item="a diagnosis with its evidence", keys=KEYS),
    Key(
        "connections", "objects", "every connection, in order of capture and id; only with --full", item="a TCP connection",
        keys=CONNECTION, optional=True,
    ),
    Key(
        "exchanges", "objects", "every exchange, in order of capture, connection and index; only with --full",
        item="a request and its response", keys=EXCHANGE, optional=True,
    ),
)  # fmt: skip


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a report as written by `analyze --format json`."""
    report = Key("", "object", "the result of an analysis of packet captures", keys=(*HEAD, *BODY, *_TABLES))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "wiredoctor report", **_of_key(report)}


def _of_key(key: Key) -> dict[str, Any]:
    made = _without_null(key)
    if key.nullable and "enum" in made:
        made["enum"].append(None)
    elif key.nullable:
        made["type"] = [made["type"], "null"]
    return made


def _without_null(key: Key) -> dict[str, Any]:
    meaning = {"description": key.meaning} if key.meaning else {}
    least = {} if key.least is None else {"minimum": key.least}
    if key.element:
        return {"type": "array", "items": _of_key(key.element), **meaning}
    match key.kind:
        case "text":
            return {"type": "string", **meaning, **({"pattern": key.pattern} if key.pattern else {})}
        case "packet text":
            shown = rf"{key.meaning}; bytes that are not printable ASCII are shown as \xNN"
            return {"type": "string", "description": shown, "pattern": _PRINTABLE}
        case "whole":
            return {"type": "integer", "minimum": key.least or 0, **meaning}
        case "number":
            return {"type": "number", **least, **meaning}
        case "seconds":
            return {"type": "number", "description": f"{key.meaning}, in seconds", **least}
        case "flag":
            return {"type": "boolean", **meaning}
        case "choice":
            return {"const": key.choices[0], **meaning} if len(key.choices) == 1 else {"enum": [*key.choices], **meaning}
        case "mapping":
            return {"type": "object", "additionalProperties": _of_key(key.keys[0]), **meaning}
        case "numbers":
            return {"type": "object", **meaning, "additionalProperties": {"type": "number"}}
        case _:
            return {
                "type": "object",
                **meaning,
                "properties": {inner.name: _of_key(inner) for inner in key.keys},
                "required": [inner.name for inner in key.keys if not inner.optional],
                "additionalProperties": False,
            }
