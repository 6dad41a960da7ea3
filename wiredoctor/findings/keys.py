"""Declare keys of objects in the JSON report, such as every key of a finding.

The JSON report, the JSON Schema and the types of the MCP server are derived from these declarations; for findings, also the
columns of CSV and the table `findings`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal, cast

import polars as pl

from wiredoctor.findings.levels import CONFIDENCES, SEVERITIES
from wiredoctor.tables import I64, TEXT, Column, Table
from wiredoctor.text.escape import printable

Kind = Literal[
    "text", "packet text", "texts", "packet texts", "whole", "wholes", "number", "seconds", "flag", "choice", "object", "objects",
    "mapping", "numbers",
]  # fmt: skip
"""The type of a key's value. `packet text` is text that packets contain. The plural is a list of such values. `mapping` is an
object with any keys, `numbers` a mapping from names to numbers.
"""

UTC = r"^[0-9]{4,}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z$"
ENDPOINT = r"^(\[[0-9A-Fa-f:.%]+\]|[0-9.]+)(:[0-9]+)?$|^[0-9A-Fa-f:.]+$"


@dataclass(frozen=True)
class Key:
    """A key of an object, with the type and meaning of its value. `pattern` (for texts), `choices` and `least` restrict the
    value.
    """

    name: str
    kind: Kind
    meaning: str
    nullable: bool = False
    pattern: str = ""
    choices: tuple[str | int, ...] = ()
    least: int | None = None
    item: str = ""
    """The description of each element, for lists."""
    keys: tuple[Key, ...] = ()
    """The keys of the object or of each object; for the type `mapping`, the declaration of each value."""
    of: Callable[[Any], Any] | None = None
    """A function that returns the value for an object; None if the value is the attribute with the key's name."""
    optional: bool = False

    def read(self, one: Any) -> Any:
        """Return the value for an object."""
        return getattr(one, self.name) if self.of is None else self.of(one)

    @property
    def element(self) -> Key | None:
        """The declaration of each element, for lists; otherwise None."""
        return Key("", cast("Kind", self.kind.removesuffix("s")), self.item, keys=self.keys) if self.item else None

    @property
    def unit(self) -> str:
        """The unit of the values in the key's column: "s" for seconds, otherwise ""."""
        return "s" if self.kind == "seconds" else ""

    @property
    def dtype(self) -> pl.DataType:
        """The type of the key's column."""
        if self.kind == "objects":
            return pl.List(pl.Struct({key.name: key.dtype for key in self.keys}))
        if self.kind == "numbers":
            return pl.List(pl.Struct({"name": TEXT, "value": pl.Float64()}))
        return {"whole": I64, "seconds": pl.Float64()}.get(self.kind, TEXT)


def reader(keys: tuple[Key, ...]) -> Callable[[Any], dict[str, Any]]:
    """Return a function that returns the values of `keys` for an object, by name."""
    parts = [(key.name, key.of or attrgetter(key.name), _shape(key)) for key in keys]
    return lambda one: {name: shape(read(one)) if shape else read(one) for name, read, shape in parts}


def _shape(key: Key) -> Callable[[Any], Any] | None:
    """Return the function that converts a value for JSON; None if it is not converted."""
    if key.element:
        shape = _shape(key.element)
        return shape and (lambda some: [*map(shape, some)])
    if key.kind == "packet text":
        return lambda text: text and printable(text)
    return reader(key.keys) if key.kind == "object" else dict if key.kind == "mapping" else None


EVIDENCE = (
    Key("frame", "whole", "number of the packet, equal to frame.number", least=1),
    Key("elapsed", "seconds", "time of the packet, since the first packet of the capture"),
    Key("note", "text", "what the packet shows"),
    Key("file", "text", "the file that contains the packet, if the capture has several files; otherwise null", nullable=True),
    Key("file_frame", "whole", "number of the packet in `file`; null if the capture has only one file", nullable=True, least=1),
)

REFERENCE = (Key("title", "text", "title of the source"), Key("url", "text", "URL of the source"))

CAUSE = (
    Key("rule", "text", "rule of the cause"),
    Key("frame", "whole", "first frame of the cause's evidence; 0 without evidence", least=0),
    Key("kind", "text", "kind of the cause; null if its rule has no kinds", nullable=True),
    Key("connection", "whole", "connection of the cause; null if it concerns several", nullable=True, least=0),
    Key("exchange", "whole", "exchange of the cause; null if it concerns none or several", nullable=True, least=0),
)

KEYS = (
    Key("rule", "text", "name of the rule", pattern="^[a-z0-9]+(-[a-z0-9]+)*$"),
    Key("family", "text", "family of the rule"),
    Key("kind", "text", "kind of the finding; null if its rule has no kinds", nullable=True),
    Key("side", "choice", "side that has to change something; null if neither does", nullable=True, choices=("client", "server")),
    Key("severity", "choice", "severity of the problem", choices=SEVERITIES),
    Key("confidence", "choice", "confidence in the finding", choices=CONFIDENCES),
    Key("title", "text", "summary in one line"),
    Key("message", "text", "what happened, with numbers"),
    Key(
        "client", "text", "client endpoint; only the address in a finding about a client host", nullable=True, pattern=ENDPOINT
    ),
    Key("server", "text", "server endpoint", nullable=True, pattern=ENDPOINT),
    Key("capture", "text", "name of the capture"),
    Key(
        "connection", "whole", "connection id, equal to tcp.stream; null if the finding concerns several connections",
        nullable=True, least=0,
    ),
    Key("exchange", "whole", "index of the exchange in its connection", nullable=True, least=0),
    Key("request", "packet text", "method and target of the request, with the values of the query masked", nullable=True),
    Key("status", "whole", "status code of the response", nullable=True, least=0),
    Key("time", "text", "time of the first evidence, RFC 3339 UTC", pattern=UTC),
    Key("elapsed", "seconds", "time of the first evidence, since the first packet of the capture"),
    Key("delay", "seconds", "the maximum time that the user would save without the problem", nullable=True, least=0),
    Key("count", "whole", "number of events that this finding represents", least=1),
    Key(
        "measures", "numbers", "every number in the message",
        of=lambda one: {name: number for name, number in one.measures.items() if math.isfinite(number)},
    ),
    Key("evidence", "objects", "the evidence, in order of frames", item="a packet of the evidence", keys=EVIDENCE),
    Key("remedy", "text", "what to change"),
    Key("references", "objects", "standards and manuals that support the finding", item="a source", keys=REFERENCE),
    Key("display_filter", "text", "Wireshark display filter for the packets of the finding"),
    Key("fingerprint", "text", "equal for the same problem in different captures", pattern="^[0-9a-f]{16}$"),
    Key("client_software", "packet text", "User-Agent of the client; null if there is none", nullable=True),
    Key("server_software", "packet text", "value of the server's Server field; null if there is none", nullable=True),
    Key(
        "caused_by", "objects", "findings that caused this one; they are listed before it",
        item="another finding of the same capture", keys=CAUSE,
    ),
    Key(
        "origin", "choice",
        "sender of the FIN or RST in the finding: the host that its source address names (endpoint), or a device "
        "on the path (between); null without a FIN or RST, or if the sender is unknown",
        nullable=True, choices=("endpoint", "between"),
    ),
    Key(
        "number", "whole",
        "number of the finding for `show --finding`, counting excluded findings, too; null in live JSON Lines",
        nullable=True, least=1,
    ),
)  # fmt: skip
"""All keys, in the order of the JSON report."""


def in_order(*first: str) -> list[Key]:
    """Return all keys, beginning with those named in `first`."""
    names = [key.name for key in KEYS]
    return [*(KEYS[names.index(name)] for name in first), *(key for key in KEYS if key.name not in first)]


FINDINGS = Table(
    "findings",
    "a finding, in the order of the report",
    tuple(Column(key.name, key.dtype, key.unit, key.meaning, key.nullable) for key in in_order("number", "capture")),
)
"""The table of findings for exports. No part of the analysis reads or writes it."""
