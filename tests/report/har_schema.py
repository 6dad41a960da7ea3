"""HAR 1.2 as a JSON Schema, written from the specification (Jan Odvarko, HAR 1.2 Spec, softwareishard.com/blog/har-12-spec).

What begins with an underscore may stand anywhere; any other field that the specification does not name is an error.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

Schema = dict[str, Any]


def _object(required: str, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {**properties, "comment": {"type": "string"}},
        "required": required.split(),
        "patternProperties": {"^_": {}},
        "additionalProperties": False,
    }


TEXT: Schema = {"type": "string"}
TIME: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"}
WHOLE: Schema = {"type": "integer", "minimum": -1}
COUNT: Schema = {"type": "integer", "minimum": 0}
SPENT: Schema = {"type": "number", "minimum": 0}
MAYBE: Schema = {"anyOf": [SPENT, {"const": -1}]}
URL: Schema = {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9+.-]*:[!#$&-;=?-Z_a-z~%\\[\\]]+$"}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


PAIR = _object("name value", name=TEXT, value=TEXT)
COOKIE = _object(
    "name value", name=TEXT, value=TEXT, path=TEXT, domain=TEXT, expires=TIME,
    httpOnly={"type": "boolean"}, secure={"type": "boolean"},
)  # fmt: skip
POSTED = _object("mimeType params text", mimeType=TEXT, params={"type": "array", "maxItems": 0}, text=TEXT)
REQUEST = _object(
    "method url httpVersion cookies headers queryString headersSize bodySize",
    method=TEXT, url=URL, httpVersion=TEXT, cookies=_list(COOKIE), headers=_list(PAIR), queryString=_list(PAIR),
    postData=POSTED, headersSize=WHOLE, bodySize=WHOLE,
)  # fmt: skip
CONTENT = _object(
    "size mimeType", size=COUNT, compression={"type": "integer"}, mimeType=TEXT, text=TEXT, encoding={"const": "base64"}
)
RESPONSE = _object(
    "status statusText httpVersion cookies headers content redirectURL headersSize bodySize",
    status=COUNT, statusText=TEXT, httpVersion=TEXT, cookies=_list(COOKIE), headers=_list(PAIR), content=CONTENT,
    redirectURL=TEXT, headersSize=WHOLE, bodySize=WHOLE,
)  # fmt: skip
TIMINGS = _object("send wait receive", blocked=MAYBE, dns=MAYBE, connect=MAYBE, send=SPENT, wait=SPENT, receive=SPENT, ssl=MAYBE)
ENTRY = _object(
    "startedDateTime time request response cache timings",
    pageref=TEXT, startedDateTime=TIME, time=SPENT, request=REQUEST, response=RESPONSE, cache=_object(""), timings=TIMINGS,
    serverIPAddress={"type": "string", "pattern": "^[0-9a-fA-F.:]+$"}, connection=TEXT,
)  # fmt: skip
PAGE = _object(
    "startedDateTime id title pageTimings",
    startedDateTime=TIME, id=TEXT, title=TEXT, pageTimings=_object("", onContentLoad=MAYBE, onLoad=MAYBE),
)  # fmt: skip
NAMED = _object("name version", name=TEXT, version=TEXT)
LOG = _object("version creator entries", version={"const": "1.2"}, creator=NAMED, pages=_list(PAGE), entries=_list(ENTRY))
HAR = {**_object("log", log=LOG), "$schema": "https://json-schema.org/draft/2020-12/schema"}


def faults(log: dict[str, Any]) -> list[str]:
    """What a schema cannot say. The log is to be parsed with parse_float=Decimal: times add up, exactly up to ten days."""
    wrong: list[str] = []
    pages = [page["id"] for page in log.get("pages", [])]
    if len(set(pages)) != len(pages):
        wrong.append("pages of one id")
    times = [entry["startedDateTime"] for entry in log["entries"]]
    if times != sorted(times):
        wrong.append("entries are not sorted")
    for number, entry in enumerate(log["entries"]):
        spent = [Decimal(entry["timings"][name]) for name in entry["timings"] if name not in ("ssl", "comment")]
        total = sum(value for value in spent if value != -1)
        if abs(total - Decimal(entry["time"])) > total * Decimal("1e-15"):  # more digits do not fit a double
            wrong.append(f"entry {number}: time is not the sum of its timings")
        if entry.get("pageref", pages[0] if pages else None) not in [*pages, None]:
            wrong.append(f"entry {number}: no page {entry['pageref']}")
        content = entry["response"]["content"]
        if "compression" in content and content["size"] - content["compression"] != entry["response"]["bodySize"]:
            wrong.append(f"entry {number}: size is not what was saved and bodySize")
    return wrong
