"""What SARIF 2.1.0 (OASIS Standard with Errata 01, 28 August 2023) demands of what wiredoctor writes, as a JSON Schema.

Written from the specification, section by section. It is narrower than the schema of OASIS: properties that wiredoctor does not
write are errors, and so is what GitHub's code scanning demands beyond the standard (a place of its own with a line, a help text).
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def _object(required: str, **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": required.split(), "additionalProperties": False}


def _list(of: Schema, least: int = 0) -> Schema:
    return {"type": "array", "items": of, "minItems": least}


TEXT: Schema = {"type": "string", "minLength": 1}
INDEX: Schema = {"type": "integer", "minimum": 0}
BAG: Schema = {"type": "object", "properties": {"tags": _list(TEXT) | {"uniqueItems": True}}}  # 3.8
LEVEL: Schema = {"enum": ["none", "note", "warning", "error"]}  # 3.27.10
MESSAGE = _object("text", text=TEXT, markdown=TEXT)  # 3.11
MULTIFORMAT = _object("text", text=TEXT, markdown=TEXT)  # 3.12
URI: Schema = {"type": "string", "format": "uri-reference", "pattern": r"^([A-Za-z0-9/._~-]|%[0-9A-F]{2}|^file:///)*$"}  # 3.4.3
ARTIFACT_LOCATION = _object("uri", uri=URI, uriBaseId=TEXT, index=INDEX)  # 3.4
REGION = _object("startLine", startLine={"type": "integer", "minimum": 1})  # 3.30
PHYSICAL = _object("artifactLocation region", artifactLocation=ARTIFACT_LOCATION, region=REGION)  # 3.29
LOCATION = _object("physicalLocation", physicalLocation=PHYSICAL, message=MESSAGE)  # 3.28
STEP = _object(
    "location", location=LOCATION, importance={"enum": ["important", "essential", "unimportant"]}, properties=BAG
)  # 3.38
FLOW = _object("threadFlows", message=MESSAGE, threadFlows=_list(_object("locations", locations=_list(STEP, 1)), 1))  # 3.36, 3.37
RESULT = _object(  # 3.27
    "ruleId ruleIndex level message locations partialFingerprints properties",
    ruleId=TEXT,
    ruleIndex=INDEX,
    level=LEVEL,
    message=MESSAGE,
    locations=_list(LOCATION, 1),
    codeFlows=_list(FLOW, 1),
    partialFingerprints={"type": "object", "additionalProperties": TEXT},
    occurrenceCount={"type": "integer", "minimum": 1},
    properties=BAG,
)
RULE = _object(  # 3.49
    "id",
    id=TEXT,
    name={"type": "string", "pattern": "^([A-Z0-9][a-z0-9]*)+$"},
    shortDescription=MULTIFORMAT,
    fullDescription=MULTIFORMAT,
    help=MULTIFORMAT,
    defaultConfiguration=_object("level", level=LEVEL),  # 3.50
    properties=BAG,
)
NOTIFICATION = _object(  # 3.58
    "descriptor level message",
    descriptor=_object("id index", id=TEXT, index=INDEX),
    level=LEVEL,
    message=MESSAGE,
    locations=_list(LOCATION, 1),
)
INVOCATION = _object(  # 3.20
    "executionSuccessful toolExecutionNotifications",
    executionSuccessful={"type": "boolean"},
    exitCode={"type": "integer"},
    toolExecutionNotifications=_list(NOTIFICATION),
)
ARTIFACT = _object(  # 3.24
    "location length roles",
    location=ARTIFACT_LOCATION,
    length={"type": "integer", "minimum": -1},
    roles=_list({"enum": ["analysisTarget"]}) | {"uniqueItems": True},
    mimeType={"type": "string", "pattern": "^[^/]+/.+$"},
    properties=BAG,
)
DRIVER = _object(  # 3.19
    "name version rules",
    name=TEXT,
    version=TEXT,
    rules=_list(RULE) | {"uniqueItems": True},
    notifications=_list(RULE) | {"uniqueItems": True},
)
RUN = _object(  # 3.14
    "tool results",
    tool=_object("driver", driver=DRIVER),  # 3.18
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    originalUriBaseIds={"type": "object", "additionalProperties": _object("", description=MESSAGE)},
    artifacts=_list(ARTIFACT) | {"uniqueItems": True},
    invocations=_list(INVOCATION),
    properties=BAG,
    results=_list(RESULT),
)
SARIF = {  # 3.13
    **_object("version runs", version={"const": "2.1.0"}, runs=_list(RUN), **{"$schema": {"type": "string", "format": "uri"}}),
    "$schema": "https://json-schema.org/draft/2020-12/schema",
}


def unresolved(log: dict[str, Any]) -> list[str]:
    """Indices and ids in a log that lead nowhere, or to something else (3.4.5, 3.27.7, 3.52.4)."""
    wrong: list[str] = []
    for run in log["runs"]:
        driver = run["tool"]["driver"]
        for list_of, key in ((driver["rules"], "rules"), (driver["notifications"], "notifications")):
            ids = [one["id"] for one in list_of]
            wrong += [f"{key}: {one} twice" for one in set(ids) if ids.count(one) > 1]
        for result in run["results"]:
            if driver["rules"][result["ruleIndex"]]["id"] != result["ruleId"]:
                wrong.append(f"ruleIndex of {result['ruleId']}")
        for note in run["invocations"][0]["toolExecutionNotifications"]:
            if driver["notifications"][note["descriptor"]["index"]]["id"] != note["descriptor"]["id"]:
                wrong.append(f"notification {note['descriptor']}")
        wrong += [f"{place}" for place in _places(run) if "index" in place and not _same(place, run["artifacts"])]
        wrong += [f"{place}" for place in _places(run) if place.get("uriBaseId", "%SRCROOT%") not in run["originalUriBaseIds"]]
    return wrong


def _same(place: dict[str, Any], artifacts: list[dict[str, Any]]) -> bool:
    return artifacts[place["index"]]["location"]["uri"] == place["uri"]


def _places(node: Any) -> list[dict[str, Any]]:
    """Every artifactLocation below a node."""
    if isinstance(node, list):
        return [place for one in node for place in _places(one)]
    if not isinstance(node, dict):
        return []
    own = [node["artifactLocation"]] if "artifactLocation" in node else []
    return own + [place for key, one in node.items() if key != "properties" for place in _places(one)]
