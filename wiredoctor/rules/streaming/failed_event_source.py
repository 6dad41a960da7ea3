"""A client that reads event streams, such as EventSource of browsers, got none.

What it means
    Kind wrong-type: the client asked for an event stream, and the server answered with another type, such as a login page.

    Kind empty: the server ends each event stream at once, without an event.

Why it hurts
    Kind wrong-type: EventSource fails, and does not try again. The page shows old data, although its status was 200.

    Kind empty: EventSource reconnects after every stream, by default after 3 s, and never gets an event. Each request costs the
    server as much as a successful one.

How it is proved
    The client sent a GET whose Accept names text/event-stream alone, as EventSource does.

    Kind wrong-type: the response has status 200 and another media type.

    Kind empty: three or more such streams for the same path were complete within 10 s. Each ended less than 1 s after its
    request, and none had a line with data. One finding covers all that follow without a pause of 10 s.

What it is not
    A status other than 200 is an answer that clients understand; 204 tells EventSource to stop. A stream that waits for news for
    1 s or longer before it ends is a long poll.

What to do
    Kind wrong-type: find out what answered: a login page, the page of a single-page application for unknown paths, an error
    page with status 200. Have the server answer with 401, 404 or 204 instead, or with the event stream. Kind empty: find out why
    the program ends its stream: an exception before the first event, or a generator that ends. To stop the client, answer with
    204.

References
    WHATWG HTML sections 9.2.2 and 9.2.3.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.bounded_memory import BoundedMap
from wiredoctor.rules.shared.evidence import candidate, confidence
from wiredoctor.rules.shared.words import Nanoseconds, packets
from wiredoctor.tables import NO_EVENT
from wiredoctor.world import World
from wiredoctor.world.connection_close import is_complete

c = pl.col

_WRONG, _EMPTY, _EVENTS = "wrong-type", "empty", "text/event-stream"

RULE = Rule(
    symptom="a page that gets no news; *EventSource's response has a MIME type that is not text/event-stream*",
    severity="warning",
    title={
        _WRONG: "The client asked for an event stream and got {media}",
        _EMPTY: "The server ends event streams without an event, again and again",
    },
    message={
        _WRONG: "{request} accepts only text/event-stream, but the {status} is {media}. EventSource fails at such a response, "
        "and does not try again.",
        _EMPTY: "{request} is the third request for this path within {within} whose event stream was complete at once, and had "
        "no event. EventSource asks again after each of them.",
    },
    remedy={
        _WRONG: "Find out what answered: a login page, the page of an application for unknown paths, or an error page. Have the "
        "server answer with 401, 404 or 204, or with the event stream.",
        _EMPTY: "Check the server's log for an exception before the first event. A server that has nothing to send keeps the "
        "stream open; to stop the client, it answers with 204.",
    },
    references=(
        Reference("WHATWG HTML section 9.2.3, reconnecting", "https://html.spec.whatwg.org/multipage/server-sent-events.html"),
    ),
)

SEVERAL = Threshold("3 streams", "the minimum number of empty streams; a server that was just restarted may end one or two")
WITHIN = Threshold("10 s", "the time within which these streams ended; EventSource reconnects after 3 s")
AT_ONCE = Threshold("1 s", "the maximum time from a request to the end of an empty stream; a long poll takes longer")
PATHS = Threshold("10000 paths", "the number of paths that are remembered, which bounds the memory")


class Facts(NamedTuple):
    """What is known of a response to an EventSource. Times are in ns. `media`: its media type. `silent`: told before."""

    endpoint: int
    kind: str
    frame: int
    start: int
    end: int
    path: str
    media: str
    silent: bool
    response_frame: int
    response_start: int
    response_last_frame: int


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return c("request_event_source") & c("has_response")


def find(exchanges: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each response to an EventSource that has another type, or no event."""
    asked = may_match() & (c("request_method") == "GET") & (c("response_status") == 200) & is_complete()
    media = c("response_content_type").cast(pl.String).fill_null("")
    empty = (c("response_events") == 0) | ((c("response_events") > 0) & (c("response_last_event") == NO_EVENT))
    at_once = c("response_end") - c("request_start") < AT_ONCE.value
    kind = pl.when(media != _EVENTS).then(pl.lit(_WRONG)).otherwise(pl.lit(_EMPTY))
    return exchanges.filter(asked & (((media != _EVENTS) & (media != "")) | ((media == _EVENTS) & empty & at_once))).select(
        *candidate("server", confidence(), "request_frame", "request_start", "response_end", kind=kind),
        c("request_target").cast(pl.String).str.split("?").list.first().alias("path"),
        media.alias("media"),
        pl.lit(value=False).alias("silent"),
        *("endpoint", "response_frame", "response_start", "response_last_frame", "response_status"),
    )


def decide(x: Facts, world: World) -> Facts | None:
    """Keep the third of several empty streams, and no later one that follows soon."""
    if x.kind == _WRONG:
        return x
    memory: BoundedMap[deque[int]] = world.memory.setdefault(
        "failed-event-source", BoundedMap(lambda: deque[int](maxlen=SEVERAL.value + 1), PATHS.value)
    )
    known = memory[x.endpoint, x.path]
    known.append(x.end)
    together = [end for end in known if x.end - end <= WITHIN.value]
    return x if len(together) == SEVERAL.value else None


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the response."""
    note = x.media if x.kind == _WRONG else "an event stream"
    return {
        "within": Nanoseconds(WITHIN.value),
        "evidence": packets(
            (x.frame, x.start, "the request: Accept: text/event-stream"),
            (x.response_frame, x.response_start, f"the response: {note}"),
            (x.response_last_frame, x.end, "its end"),
        ),
    }
