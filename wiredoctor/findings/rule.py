"""The types with which a rule file declares its rule, thresholds, references and advice."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache, wraps
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeVar

from wiredoctor.findings.levels import Severity, Side
from wiredoctor.text.regex import Regex

T = TypeVar("T")

_UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}

_OLD_UNITS = {"rest": "idle time"}
"""Former names of units, which configurations may still use, with the current names (singular)."""

_QUANTITY = Regex(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([a-zA-Z%].*)?")

ThresholdKey = tuple[str, str]
"""The name of a rule, and the name of one of its thresholds in a configuration: ("nagle-delayed-ack", "min-ack-delay")."""

_CONFIGURED: ContextVar[Mapping[ThresholdKey, str]] = ContextVar("configured thresholds", default=MappingProxyType({}))
"""The texts of the configured thresholds in the running analysis."""


def threshold_name(constant: str) -> str:
    """Return the name of a threshold in configuration files: MIN_ACK_DELAY -> min-ack-delay."""
    return constant.lower().replace("_", "-")


@cache  # thresholds are read for each candidate
def _value(text: str) -> int:
    """Convert a quantity such as "30 ms" to a whole number: a time in nanoseconds, any other quantity in the unit of the text."""
    number, _, unit = text.partition(" ")
    return round(float(number) * _UNITS.get(unit, 1))


@dataclass(eq=False, repr=False)
class Threshold:
    """A threshold of a rule, such as "30 ms", "8 segments" or "25 %", and the reason for its value.

    `value` is in nanoseconds for times (ns, us, ms, s), otherwise in the unit that the text names. While the context manager
    `configured` is active, `value` and `current` (the same threshold as text) come from the user's configuration. Therefore
    `find` and `decide` must read `value` each time they run, and must not store it. `most` (text): the largest value that has an
    effect, because the core does not record events beyond it; empty if there is no such limit.
    """

    text: str
    reason: str
    most: str = ""
    key: ThresholdKey | None = field(default=None, init=False)
    """The key for configuring the threshold, set when the catalogue loads the rule; None if it cannot be configured."""
    rules: list[str] = field(default_factory=list[str], init=False, compare=False, repr=False)
    """The names of the rules that have this threshold, in the order in which the catalogue loaded them."""

    @property
    def current(self) -> str:
        """The configured threshold, in the form of `text`."""
        return self.text if self.key is None else _CONFIGURED.get().get(self.key, self.text)

    @property
    def value(self) -> int:
        """The threshold as a whole number: times in nanoseconds, other values in the unit that the text names ("25 %" is 25)."""
        given = _CONFIGURED.get()
        return _value(given.get(self.key, self.text)) if given and self.key is not None else self._default

    @cached_property
    def _default(self) -> int:
        return _value(self.text)

    def parse(self, text: str) -> str:
        """Convert a user's text ("40ms", "3") to the form of `text`. If it is invalid, raise ValueError with an explanation."""
        parsed = self._parse(text)
        if self.most and _value(parsed) > _value(self.most):
            raise ValueError(f"{text!r} has no effect: the analysis records at most {self.most}")
        return parsed

    def _parse(self, text: str) -> str:
        unit = self.text.partition(" ")[2]
        quantity = _QUANTITY.fullmatch(text.strip())
        number, given = quantity.groups() if quantity else ("", "")
        if unit in _UNITS:
            if given in _UNITS:
                return f"{number} {given}"
            raise ValueError(f'{text!r} is not a time such as "{self.text}" (units: {", ".join(_UNITS)})')
        one = given.removesuffix("s") if given else ""
        if number.isdecimal() and (not given or _OLD_UNITS.get(one, one) == unit.removesuffix("s")):
            return f"{number} {unit}".rstrip()
        raise ValueError(f'{text!r} is not a whole number such as "{self.text}"')


@contextmanager
def configured(thresholds: Mapping[ThresholdKey, str]) -> Generator[None]:
    """Apply the configured `thresholds` while the context manager is active, in this thread only."""
    token = _CONFIGURED.set(thresholds)
    try:
        yield
    finally:
        _CONFIGURED.reset(token)


def configured_thresholds() -> frozenset[tuple[ThresholdKey, str]]:
    """Return the thresholds that `configured` applies now, as a cache key for values that depend on thresholds."""
    return frozenset(_CONFIGURED.get().items())


def cached_for_thresholds(make: Callable[[], T]) -> Callable[[], T]:
    """Cache the result of a function for each set of configured thresholds. It is for expressions: building them takes time."""

    @lru_cache(maxsize=16)
    def of_thresholds(_: object) -> T:
        return make()

    @wraps(make)
    def cached() -> T:
        return of_thresholds(configured_thresholds())

    return cached


class Reference(NamedTuple):
    """A source for a claim of a rule."""

    title: str
    url: str


class Advice(NamedTuple):
    """A sentence at the end of a remedy. It is given if the side that has to change something is `side` and runs `software`.

    `software` is a regular expression that is searched, ignoring case, in the Server field (side server) or the User-Agent field
    (side client). "" always matches; "^$" matches if the software is unknown, but not if a client may be any of several known
    programs. A client that is a gateway gets the advice for side "gateway", because it forwards the User-Agent of its clients;
    only "httpd" can be recognized in this case. Advice for the software of a client begins with "If the client is", because an
    unknown gateway may have forwarded the User-Agent. `where` may name a column of the candidates, or one of the rule's words:
    the advice is then given only if that value is not null, 0, false or empty.
    """

    side: Side | Literal["gateway"]
    software: str
    text: str
    where: str = ""


class Rule(NamedTuple):
    """The declaration of a rule, named RULE in its file. Texts are str.format templates over the columns of its candidates.

    Every text may also use client, server, side and peer (the two sides in words), request, status, server_software and
    client_software (from the Server and User-Agent fields, or empty), frames (of the evidence, "5, 6, 7"), first_frame and
    last_frame. Columns of type Duration("ns"), and delay, are formatted as durations ("44.1 ms").

    severity, title, message and remedy are one value for all kinds, or a mapping by kind (None: the rule has no kinds).
    explained_by: pairs of a name (rule, family or rule/kind) and a scope. A candidate is dropped if the named rule, family or
    kind has a candidate in the same scope. Scopes are "time" (same connection, overlapping start..end), "exchange", "previous"
    (the exchange before this one on its connection), "connection", "endpoint" (the server), "pair" (the client's host and the
    server) and "front" (the exchange of a gateway's client for which this one was made; if both candidates are of one rule, the
    other one must have ended first). unexplained: the kinds to which explained_by does not apply.
    caused_by: like explained_by, but both candidates are reported, and the cause comes first. In explained_by and caused_by,
    "rule/" means candidates of the rule without a kind. caused_by has no scopes "time", "previous", "pair" and "front", but four
    others: "tries" (the cause is about a request or connection that a gateway made to serve this exchange), "until" (same
    exchange; the client did not read until the server closed), "wait" (same exchange, or a request or connection that the
    gateway made to serve it; the cause took most of the candidate's wait) and "wait-behind" (as "wait", but the cause is not
    about the same exchange). summary: the rule has one finding per endpoint or capture, reported at the end. Otherwise its
    findings are events, each of which is final once its evidence has been read.
    timeless: packet order and sequence numbers alone prove the finding, so it holds even if the capture's clock was set back. A
    tuple names the kinds to which this applies.
    absence: the proof includes something that is not in the capture (a response, an ACK, a close, a packet within a pause). If
    packets were dropped, the missing packet may have existed, so confidence is medium at most.
    ends: the rule explains why a request got no response, a message was truncated, or a connection ended. A finding
    explains an exchange and the later ones on its connection, a connection, or all connections of an endpoint. Whatever a
    finding explains is not listed as "not judged".
    any_order: the result does not depend on the order of rows in the tables, or in the result of `find` that `decide` receives.
    Many rows can then be streamed in any order, which takes less memory.
    symptom: what a user notices, for the list of rules and for `wiredoctor explain WORDS`; Markdown.
    protocols: the protocols (tables.PROTOCOLS) of the connections that the rule is about. From tables that tell
    the protocol, it gets only their rows; it does not run if there are none.
    """

    severity: Severity | Mapping[str | None, Severity]
    title: str | Mapping[str | None, str]
    message: str | Mapping[str | None, str]
    remedy: str | Mapping[str | None, str]
    display_filter: str = "tcp.stream == {connection} && frame.number in {{{frames}}}"
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
    symptom: str = ""
    protocols: tuple[str, ...] = ("http",)


CANDIDATE_COLUMNS = {
    "connection": "id, or null for a candidate about the capture",
    "exchange": "index in the connection, or null",
    "kind": "name of the kind, or null",
    "side": "client, server or null: who has to change something",
    "confidence": "high, medium or low",
    "frame": "the packet to look at first; rule, connection and frame identify the candidate",
    "start": "ns; the beginning of the time that the candidate explains",
    "end": "ns; the end of that time",
    "delay": "ns, or null: the maximum time that the user lost",
}
"""The columns of every candidate, besides those that the rule's texts and its `Facts` name.

Candidates of one rule with the same connection and frame are duplicates; the first one that is not explained is reported.
Optional columns:
`severity`, `title` and `message`: replace those of the rule. `addition`: a sentence appended to the message. `events`: the number
of occurrences, if not one.
`silent`: true if another candidate is reported instead; the silent candidate may still explain other candidates.
`until_end`: true if the candidate lasts until the end of the capture only because nothing ended it. Such a candidate is dropped
if packets were dropped between its `start` and `end`.
`user_agent`: the User-Agent of the client, empty if the client sends none; for candidates that have no connection.
`direction`: the direction of the sender that has to change something; `build_findings` derives the side from it.
`last_frame`: the frame number of the newest evidence. `decide` receives the candidates in the order of this column, or of `frame`
if it is missing. With `any_order`, it receives them in any order.
"""


def by_kind(text: Any, kind: str | None) -> Any:
    """Return the value of a rule's severity, title, message or remedy for candidates of this kind."""
    return text if isinstance(text, str) else text[kind]
