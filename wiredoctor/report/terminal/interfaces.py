"""List the interfaces of this machine, and whether capturing is permitted, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from wiredoctor.findings import printable
from wiredoctor.report.fields import Field, heading, no_room, paint, width
from wiredoctor.report.terminal.terminal import Terminal, TerminalWriter
from wiredoctor.report.words import clean

if TYPE_CHECKING:
    from wiredoctor.interfaces import Backend, Interface, Permission

_STATE_STYLE = {"up": "green", "no carrier": "yellow", "down": "dim"}
_CALLED = {"raw": "raw sockets"}


def write(interfaces: Sequence[Interface], permission: Permission, out: TextIO, paper: Terminal) -> None:
    """Write a table of the interfaces, the backends that may capture, and advice if no backend may."""
    columns = {
        "interface": [printable(one.name) for one in interfaces],
        "kind": [printable(one.kind or "-") for one in interfaces],
        "link type": [one.link_type for one in interfaces],
        "state": [one.state for one in interfaces],
    }
    fields = {title: Field(title, max(map(len, [title, *cells])), right=False) for title, cells in columns.items()}
    longest = max((len(address) + 1 for one in interfaces for address in one.addresses), default=0)
    is_narrow = width(list(fields.values())) + 1 + longest > paper.width
    if is_narrow:
        del fields["kind"]
    out.write(paint(heading([*fields.values(), Field("addresses", 0, right=False)]), "bold", color=paper.color) + "\n")
    for number, interface in enumerate(interfaces):
        _write_interface(interface, [field.pad(columns[title][number]) for title, field in fields.items()], out, paper)
    out.write(f"{no_room(['kind'])}\n\n" if is_narrow else "\n")
    _write_permission(permission, TerminalWriter(out, paper))


def _write_interface(interface: Interface, cells: Sequence[str], out: TextIO, paper: Terminal) -> None:
    lead = " ".join(cells)
    indent = len(lead)
    plain = interface.state
    painted = paint(plain, _STATE_STYLE[plain], color=paper.color)
    lead = " ".join([*cells[:-1], painted + cells[-1].removeprefix(plain)])
    for line in _address_lines(interface, paper.width - indent - 1):
        out.write(f"{lead} {line}".rstrip() + "\n")
        lead = " " * indent


def _address_lines(interface: Interface, room: int) -> Iterator[str]:
    """Yield lines of at most `room` characters: first the addresses, as many per line as fit, then the description.

    Yield at least one line, which may be empty.
    """
    line = ""
    for address in interface.addresses:
        if line and len(line) + len(address) + 3 > room:
            yield line + ","
            line = ""
        line += f", {address}" if line else address
    if line or not interface.description:
        yield line
    if interface.description:
        yield printable(interface.description)


def _write_permission(permission: Permission, writer: TerminalWriter) -> None:
    if permission.permitted:
        writer.paragraph(("Capturing is permitted", "bold green"), " on interfaces that are up.")
    else:
        writer.paragraph(("Capturing is not permitted.", "bold red"))
    names = [_CALLED.get(backend.name, backend.name) for backend in permission.backends]
    for name, backend in zip(names, permission.backends, strict=True):
        style = "green" if backend.permitted else ""
        verdict = ("yes" if backend.permitted else "no", style)
        lead = f"{name:<{max(map(len, names))}}  "
        writer.paragraph(lead, verdict, f"{'  ' if backend.permitted else '   '}{_reason(backend)}", indent=2, hang=len(lead) + 5)
    for number, sentence in enumerate(permission.advice):
        if not number:
            writer.blank()
        writer.paragraph(sentence, hang=2)


def _reason(backend: Backend) -> str:
    where = f" ({clean(backend.path)})" if backend.path and backend.name != "raw" else ""
    return backend.reason + where


def write_json(interfaces: Sequence[Interface], permission: Permission, out: TextIO, version: str) -> None:
    """Write one JSON object with one interface or backend per line. Texts from the system are printable ASCII, as in reports."""
    backends = [{**backend._asdict(), "path": _printable(backend.path)} for backend in permission.backends]
    usable = [backend.name for backend in permission.backends if backend.permitted]
    head = {"schema_version": 1, "tool": {"name": "wiredoctor", "version": version}, "permitted": permission.permitted}
    out.write("{" + "".join(f'"{key}": {json.dumps(value)},\n ' for key, value in head.items()))
    out.write(f'"advice": {json.dumps([printable(sentence) for sentence in permission.advice])},\n ')
    out.write(f'"backends": [\n{_lines(backends)}\n ],\n ')
    out.write(f'"interfaces": [\n{_lines([_object(one, usable) for one in interfaces])}\n ]\n}}\n')


def _object(interface: Interface, usable: list[str]) -> dict[str, Any]:
    return {
        **interface._asdict(),
        "name": printable(interface.name),
        "kind": _printable(interface.kind),
        "description": printable(interface.description),
        "capture": [] if interface.state == "down" else usable,
    }


def _printable(text: str | None) -> str | None:
    return None if text is None else printable(text)


def _lines(rows: list[dict[str, Any]]) -> str:
    return ",\n".join(f"  {json.dumps(row)}" for row in rows)
