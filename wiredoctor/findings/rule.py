"""What a rule declares."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from wiredoctor.findings.levels import Severity, Side

_UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}

_QUANTITY = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([a-zA-Z%].*)?")

_CONFIGURED: ContextVar[Mapping[int, str]] = ContextVar("configured thresholds", default=MappingProxyType({}))
"""id() of a Threshold -> its text in the running analysis."""


class Threshold(NamedTuple):
    """A limit of a rule: "30 ms" or "8 segments" or "25 %", and why it is that and no other.

    `value` is in nanoseconds for times (ns, us, ms, s), else the bare number. Within `configured` both it and `current`
    are what the user set; so `find` and `judge` ask when they run, and nothing keeps what was answered.
    Raises ValueError when the text is not a number and a unit.
    """

    text: str
    reason: str

    @property
    def current(self) -> str:
        """The limit as configured, in the form of `text`."""
        return _CONFIGURED.get().get(id(self), self.text)

    @property
    def value(self) -> int:
        """The limit as a whole number: nanoseconds for times, else in the unit of the text."""
        number, _, unit = self.current.partition(" ")
        return round(float(number) * _UNITS.get(unit, 1))

    def parse(self, text: str) -> str:
        """What a user wrote for this limit ("40ms", "3"), in the form of `text`; raises ValueError with what it must be."""
        unit = self.text.partition(" ")[2]
        quantity = _QUANTITY.fullmatch(text.strip())
        number, given = quantity.groups() if quantity else ("", "")
        if unit in _UNITS:
            if given in _UNITS:
                return f"{number} {given}"
            raise ValueError(f'{text!r} is not a time such as "{self.text}" (units: {", ".join(_UNITS)})')
        if number.isdecimal() and (not given or given.removesuffix("s") == unit.removesuffix("s")):
            return f"{number} {unit}".rstrip()
        raise ValueError(f'{text!r} is not a whole number such as "{self.text}"')


@contextmanager
def configured(thresholds: Mapping[int, str]) -> Generator[None]:
    """Within it the thresholds with these id()s have these texts instead of their own, in this thread."""
    token = _CONFIGURED.set(thresholds)
    try:
        yield
    finally:
        _CONFIGURED.reset(token)


class Reference(NamedTuple):
    """Where a claim of a rule can be read."""

    title: str
    url: str


class Advice(NamedTuple):
    """A sentence that a remedy ends with, where the side that has to change something is `side` and runs `software`.

    `software` is a regular expression, searched without regard to case in the response's Server (side server) or in
    the request's User-Agent (side client); "" always matches, "^$" where nothing is known. A client that is a gateway gets the
    advice for side "gateway": it passes the User-Agent of others on. Of it "httpd" may be known. Advice for the software of a
    client begins with "If the client is": behind a gateway that cannot be seen it is another. `where` may name a column of
    the candidates: the advice is given where that holds something (not null, 0, false or empty).
    """

    side: Side | Literal["gateway"]
    software: str
    text: str
    where: str = ""


class Rule(NamedTuple):
    """What a rule file declares as RULE. Texts are str.format templates over the columns of its candidates.

    Every text may also use client, server, side and peer (the two sides in words), request, status, server_software and
    client_software (as the Server and User-Agent fields say, else empty), frames (of the evidence, "5, 6, 7"), first_frame
    and last_frame. Columns of type Duration("ns"), and delay, are written as durations ("44.1 ms").

    severity, title, message and remedy may be one for all, or a mapping by kind (None: the rule has no kinds).
    explained_by: (rule, family or rule/kind, scope) pairs; a candidate gives way to a candidate of that rule that shares the
    scope: "time" (same connection, overlapping start..end), "exchange", "previous" (the exchange that follows on
    its connection), "connection", "endpoint" (the server) or "front" (the exchange of the gateway's client for which this one was
    made; of the same rule, one that was over first).
    unexplained: kinds that give way to nothing.
    caused_by: the same, but nothing gives way: both are reported, and the cause comes first. "rule/" stands for its candidates
    without a kind. Instead of "time" and "front" there are "tries", what a gateway did for this exchange at its back, in order,
    and "until", the same exchange, whose client had not read until its server closed.
    summary: one finding per endpoint or capture, said at the end; else an event, final once its evidence has passed.
    timeless: the order of packets and their numbers prove it alone, no time: it holds where the capture's clock was set back;
    or the kinds of which that is so.
    absence: something that is not in the capture (a response, an ACK, a close, a packet within a pause) is part of the proof:
    where packets were dropped, it may have been there, and confidence is medium at most.
    ends: it says why a request had no answer, a message was cut short, or a connection ended as it did: what its findings name
    (an exchange with those behind it on its connection, a connection, in a summary the connections of an endpoint) is not
    listed as not judged.
    any_order: what it says does not depend on the order of rows, neither of its tables nor of what `find` hands to `judge`, so
    that of a million they may come in any order, which takes less memory.
    """

    severity: Severity | Mapping[str | None, Severity]
    title: str | Mapping[str | None, str]
    message: str | Mapping[str | None, str]
    remedy: str | Mapping[str | None, str]
    display_filter: str
    references: tuple[Reference, ...] = ()
    explained_by: tuple[tuple[str, str], ...] = ()
    advice: tuple[Advice, ...] = ()
    summary: bool = False
    caused_by: tuple[tuple[str, str], ...] = ()
    timeless: bool | tuple[str, ...] = False
    absence: bool = False
    any_order: bool = False
    ends: bool = False
    unexplained: tuple[str, ...] = ()


CANDIDATE_COLUMNS = {
    "connection": "id, or null for one that is about the capture",
    "exchange": "index in the connection, or null",
    "kind": "name of the kind, or null",
    "side": "client, server or null: who has to change something",
    "confidence": "high, medium or low",
    "frame": "where to look first; with rule and connection the key of the candidate",
    "start": "ns; with end the time that the candidate explains",
    "end": "ns",
    "delay": "ns, or null: what the user would have got back, at most",
    "evidence": "list of {frame, time, note}, in order of frames",
}
"""What every candidate has (at the latest when `judge` returns it), besides the names in the rule's texts.

Candidates of one rule with the same connection and frame are one, and the first that is not explained away is said.
Optional: `severity`, `title` and `message` (instead of the rule's), `addition` (a sentence that its message ends with), `events`
(how many it stands for, if not one), `silent` (true of one that another candidate speaks for: it explains what it explains, and
is not said), `until_end` (true of one that lasts until the capture ends, only because nothing came that ended it: where packets
were dropped meanwhile it is not said), `direction` (direction of the sender who has to change something: settling makes the side
of it) and `last_frame` (newest evidence; `judge` sees rows in its order, or in that of `frame` where there is none, unless the
rule has `any_order`)."""


def by_kind(text: Any, kind: str | None) -> Any:
    """The entry of a rule's severity, title, message or remedy for this kind."""
    return text if isinstance(text, str) else text[kind]
