"""Write the label of a recording after comparing what was intended with what tshark sees."""

from __future__ import annotations

import json
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from typing import TYPE_CHECKING

import evidence
import sightings
import waits
from scenario import LOST, OTHERS, SEEN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scenario import Connection, Exchange, Find, Scenario


class Mismatch(Exception):
    """Raised if a recording is not as intended. On a busy machine, record it again."""


def expand(connections: Sequence[Connection]) -> list[Connection]:
    """Return one entry per connection."""
    return [connection for connection in connections for _ in range(connection.repeat)]


def settled(scenario: Scenario, path: Path) -> list[Connection]:
    """Return the connections with the values that only tshark can know: who closed first, and the sizes of bodies."""
    if scenario.spread:
        return sightings.connections(path)
    connections = list(scenario.connections)
    if any(exchange.response_body == SEEN for connection in connections for exchange in connection.exchanges):
        connections = [
            replace(one, repeat=1, exchanges=sightings.with_sizes(path, number, one))
            for number, one in enumerate(expand(connections))
        ]
    if all(connection.closed_by is not None for connection in connections):
        return connections
    streams = evidence.segments(path)
    return [replace(one, repeat=1, closed_by=evidence.closed_by(streams[i])) for i, one in enumerate(expand(connections))]


def _equal(what: str, meant: object, seen: object) -> None:
    if meant != seen:
        raise Mismatch(f"{what}: meant {meant}, tshark sees {seen}")


def check(scenario: Scenario, path: Path) -> None:
    """Raise Mismatch if tshark sees other connections, exchanges or bodies than intended."""
    streams, heads = evidence.segments(path), evidence.heads(path, whole=scenario.whole and not scenario.unassembled)
    found(scenario, path)
    if scenario.spread:
        meant, met = sightings.kinds(scenario.connections), sightings.kinds(sightings.connections(path))
        _equal("exchanges of any connection", *sightings.differences(meant, met))
        return
    connections = expand(scenario.connections)
    _equal("connections", len(connections), len(streams))
    lost = scenario.lose is None and any(find.rule == "capture-loss" for find in scenario.finds)
    _equal("acknowledged but not captured", lost, evidence.acknowledges_unseen(path))
    for number, connection in enumerate(connections):
        exchanges = sightings.each(connection)
        seen = heads.get(number) or evidence.Heads([], [], [])
        _equal(f"methods of {number}", [e.method for e in exchanges if e.method], seen.methods)
        _equal(f"targets of {number}", [e.target for e in exchanges if e.target], seen.targets)
        statuses = [status for e in exchanges for status in (*e.interim, e.status) if status]
        _equal(f"statuses of {number}", statuses, seen.statuses)
        if connection.closed_by is not None:
            _equal(f"close of {number}", connection.closed_by, evidence.closed_by(streams[number]))
        if scenario.whole:
            _check_bodies(path, number, exchanges)


def _check_bodies(path: Path, number: int, exchanges: list[Exchange]) -> None:
    answered = [exchange for exchange in exchanges if exchange.status]
    requests, responses = evidence.bodies(path, number, len(answered))
    _equal(f"request bodies of {number}", [e.request_body for e in answered], [b.size for b in requests])
    sizes = [b.size if e.response_body == SEEN else e.response_body for e, b in zip(answered, responses, strict=True)]
    _equal(f"response bodies of {number}", sizes, [b.size for b in responses])
    _equal(f"framings of {number}", [e.response_framing for e in answered], [b.framing for b in responses])


def delays(find: Find, path: Path) -> list[float]:
    """Return the measured delays of a finding. Raise Mismatch if their number or kinds differ from what was intended."""
    if find.connection is None:
        measured = waits.SUMMARIES[find.rule](path)
    else:
        measured = waits.MEASURES[find.rule](path, find.connection, find.side or "")
    _equal(f"kinds of the waits of {find.connection}", [find.kind] * find.count, [wait.kind for wait in measured])
    return [wait.delay for wait in measured]


def found(scenario: Scenario, path: Path) -> list[Find]:
    """Return the expected findings, with connection ids taken from the packets. Raise Mismatch if the packets contradict them."""
    if not any(find.connection in (LOST, OTHERS) for find in scenario.finds):
        return list(scenario.finds)
    lost, streams = evidence.lost(path), evidence.segments(path)
    others = [number for number, stream in streams.items() if number not in lost and evidence.closed_by(stream) == "server"]
    finds: list[Find] = []
    told: set[int] = set()
    for find in scenario.finds:
        how = find.kind if find.kind in ("race", "stale-pool") else "acknowledged"
        numbers = {LOST: [n for n, seen in lost.items() if seen == how], OTHERS: others}.get(
            find.connection or 0, [find.connection]
        )
        told.update(number for number in numbers if number in lost)
        finds += [replace(find, connection=number) for number in numbers]
    _equal("lost requests", set(lost), told)
    return finds


def write(scenario: Scenario, path: Path, at: str, software: list[str]) -> None:
    """Write NAME.toml beside a capture that was recorded at the point `at`."""
    lines = [
        f"title = {_text(scenario.title)}",
        f'story = """\n{scenario.story}\n"""',
        f"script = {_text(f'captures/lab/record.py {scenario.name}')}",
        f"at = {_text(at)}",
        f"software = [{', '.join(map(_text, software))}]",
    ]
    if scenario.must_not:
        lines += ["must_not = [", *(f"    {_text(rule)},  # {why}" for rule, why in scenario.must_not.items()), "]"]
    lines += ["", "[packets]", f"count = {evidence.packets(path)}"]
    for connection in settled(scenario, path):
        lines += _connection(connection)
    for find in found(scenario, path):
        lines += _find(find, path)
    path.with_suffix(".toml").write_text("\n".join(lines) + "\n")


def _text(text: str) -> str:
    return json.dumps(text)


def _connection(connection: Connection) -> list[str]:
    lines = ["", "[[connection]]"]
    if connection.repeat > 1:
        lines.append(f"repeat = {connection.repeat}")
    if connection.closed_by:
        lines.append(f"closed_by = {_text(connection.closed_by)}")
    return [*lines, "exchanges = [", *(f"    {_exchange(e)}," for e in connection.exchanges), "]"]


def _exchange(exchange: Exchange) -> str:
    values = {field.name: getattr(exchange, field.name) for field in dataclass_fields(exchange)}
    order = ("method", "target", "status", "request_body", "response_body", "response_framing", "interim", "repeat")
    dispensable = {
        "method": "",
        "target": "",
        "status": None,
        "request_body": 0,
        "response_body": None,
        "response_framing": "",
        "interim": (),
        "repeat": 1,
    }
    kept = [name for name in order if name not in dispensable or values[name] != dispensable[name]]
    return "{ " + ", ".join(f"{name} = {json.dumps(values[name])}" for name in kept) + " }"


def _find(find: Find, path: Path) -> list[str]:
    lines = ["", "[[find]]", f"rule = {_text(find.rule)}"]
    values = {
        "kind": find.kind,
        "side": find.side,
        "severity": "note" if find.note else None,
        "confidence": find.confidence,
    }
    lines += [f"{name} = {_text(value)}" for name, value in values.items() if value]
    if find.connection is not None:
        lines.append(f"connection = {find.connection}")
    lines.append(f"count = {find.count}")
    if find.measured:
        lines.append(f"delays = [{', '.join(f'{delay:.6f}' for delay in delays(find, path))}]")
    return lines
