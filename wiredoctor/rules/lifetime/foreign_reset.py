"""A device between client and server ended a connection in the name of the client or the server.

What it means
    The RST (or FIN) that ended the connection carries the address of the server, or of the client, but that host did not send it.
    Intrusion prevention systems, firewalls, censoring networks, and balancers or NATs with an idle timeout end connections in
    this way. They send forged RSTs to one side or to both.

Why it hurts
    Programs report "Connection reset by peer", but the peer did nothing. The peer's log shows no error, or the same error
    about the other side. Searching the server for the cause wastes time.

How it is proved
    At least two of six signs show that another host sent the RST or FIN, which is called the packet here:

    1. The TTL (hop limit) of the packet differs by more than 2 from that of all other packets of that host on the connection. If
    the host goes on sending with its own TTL, any difference counts, unless the path became shorter and the RST may have
    overtaken packets that the host had sent before it. Any difference also counts together with a wrong IP identification or
    missing timestamps, which a change of route does not explain.

    2. The packet has the ACK flag and IP identification 0, although that host increments it with every packet. Or its IP
    identification is not near those of the host, although the host increments it and sent a packet less than a second before. Or
    its IP identification is that of the other side's last packet, or the next one.

    3. The host that seems to have sent the RST goes on sending: data at or above the sequence number of the RST, any data or a
    FIN a second later, ACKs of new data, an ACK without data more than 1 ms after an RST with the ACK flag, or a SYN-ACK after an
    RST that refused the SYN. For a FIN, data beyond the FIN counts, unless the other side acknowledged it.

    4. The packet came less than half a round trip after the packet that it answers.

    5. The packet is a FIN and lacks the timestamp option that all other packets carry.

    6. The packet's sequence number lies above the next expected byte and inside the window, and the packet did not merely
    overtake the data in between. If the other side answers the RST with an ACK that does not cover the bytes in between (RFC
    5961, challenge ACK), these never arrived. A change of route then explains neither this nor the TTL, so any difference of the
    TTL counts.

    The request counts as lost if the response was cut off, or began only after an RST in the server's name. It is also lost if a
    FIN in the server's name carried the response, which then came from the device. It is lost, too (medium confidence), if an RST
    in the client's name came before an ACK of the response could come, no ACK of its end followed, and another packet of the
    connection came a round trip or more after the response: the client had dropped the connection, or no longer answers. So is a
    request of which no byte arrived (medium confidence): the server's ACK after the RST shows that bytes of the client are
    missing, although the earlier exchange was complete.

    If an RST shows one of these signs, its host may still send the response, so wiredoctor waits for the response for up to
    a minute.

    Only the first RST of a side counts, together with those that come within 20 ms and have the same TTL. Later RSTs do not
    count, because kernels and firewalls answer packets that come after a reset, and firewalls do so under any address.

What it is not
    A reset with only one of these signs is not reported, because each sign also occurs in genuine resets. If that sign is the
    TTL, a finding about a request or response that the close cut off says so and has medium confidence; no-response and
    truncated-response then blame no side. A kernel answers packets of an unknown connection with an RST without ACK flag and with
    IP identification 0, so these two together are no sign. Neither is another TTL that all later packets have, too: the route has
    changed. If both sides keep sending after an RST, neither of them accepted it. If an RST answers a request on an idle
    connection that the server has forgotten, keep-alive-race reports it as kind forgotten.

What to do
    Find the device: its TTL shows how many hops away it is. Have it drop packets or answer with ICMP instead of forging resets,
    or exempt this traffic.

References
    RFC 9293 section 3.10.7.4, RFC 5961, RFC 3360.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule
from wiredoctor.rules.shared.evidence import candidate, confidence
from wiredoctor.rules.shared.left_early import begun, whole_response
from wiredoctor.rules.shared.words import fin_or_rst, packets
from wiredoctor.tables import PROTOCOLS, of_connections
from wiredoctor.text.durations import duration_text
from wiredoctor.world import CaptureTables, Index, World

c = pl.col

RULE = Rule(
    symptom="*connection reset by peer*",
    severity="warning",
    title="A device between client and server, not the {sender}, {ended} the connection{where}",
    message="The {close} that ended the connection carries the address of the {sender}, but the {sender} did not send it: "
    "{signs}. {missing}{cut}{more}",
    remedy="Look for a device that ends connections in the name of other hosts: an intrusion prevention system or a firewall "
    "with a rule for this traffic, a balancer or NAT with an idle timeout, a censoring network, or a Linux router whose "
    "rules reject packets in conntrack state INVALID (REJECT --reject-with tcp-reset). {hops}A capture at the {sender} "
    "shows that it sent no {close}: wiredoctor compare --both-sides puts both captures side by side. Have the device "
    "drop packets instead, or exempt this traffic.",
    references=(
        Reference("RFC 9293 section 3.10.7.4, acceptable resets", "https://www.rfc-editor.org/rfc/rfc9293.html#section-3.10.7.4"),
        Reference("RFC 5961 section 3, blind resets", "https://www.rfc-editor.org/rfc/rfc5961.html#section-3"),
        Reference("RFC 3360, inappropriate TCP resets considered harmful", "https://www.rfc-editor.org/rfc/rfc3360.html"),
    ),
    explained_by=(("keep-alive-race", "exchange"),),
    timeless=True,
    ends=True,
    protocols=PROTOCOLS,
)

MOST_HOPS = 40
"""The maximum plausible length of a path in hops; traceroute(8) searches for at most 30 by default."""


class Facts(NamedTuple):
    """What is known of a FIN or RST that another host sent, and of the exchange that it ended. Times are in ns.

    `state`: what became of that exchange (a key of _STATES). `requests`: the number of lost requests. `passed`, `missing`: how
    many bytes of the response body had passed, and how many had not. `ack_due`: when an ACK of the complete response could have
    come.
    The other columns are those of `foreign_closes` and `closes`.
    """

    connection: int
    confidence: str
    severity: str
    frame: int
    start: int
    end: int
    state: str
    requests: int
    passed: int | None
    missing: int | None
    ack_due: int | None
    request_frame: int | None
    response_frame: int | None
    response_start: int | None
    response_status: int | None
    response_body_due: int | None
    sender: str
    rst: bool
    ttl: int | None
    lowest_ttl: int | None
    highest_ttl: int | None
    ip_id: int | None
    last_ip_id: int | None
    peer_ip_id: int | None
    goes_on: bool
    later_frame: int | None
    later_time: int | None
    trigger_time: int | None
    rtt: int | None
    no_timestamps: bool
    ahead: int | None
    refusal_frame: int | None
    refusal_time: int | None
    client_bytes: int
    server_bytes: int


def find(foreign_closes: pl.LazyFrame, closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each connection that a device on the path ended.

    The row is about the first exchange that was lost. If none was lost, it is about the exchange before the close.
    """
    rows = foreign_closes.join(closes, on=["connection", "exchange"], how="left", nulls_equal=True)
    rows = rows.with_columns(_is_lost().alias("lost"))
    rows = rows.with_columns(_never_arrived().alias("never"))
    first = rows.with_columns(c("lost").sum().over("connection").alias("requests")).sort(
        "connection", ~c("lost"), c("frame"), c("exchange"), nulls_last=True
    )
    first = first.unique("connection", keep="first", maintain_order=True)
    since = pl.coalesce("request_start", "time")
    return first.with_columns(pl.when(~c("never")).then("exchange").alias("exchange")).select(
        *candidate(None, _confidence(), "frame", pl.when("never").then("time").otherwise(since), "time"),
        pl.when(c("lost") | c("never")).then(pl.lit("error")).otherwise(pl.lit("warning")).alias("severity"),
        _state().alias("state"),
        _bytes_passed().alias("passed"),
        _missing().alias("missing"),
        pl.when(_outruns_ack()).then(c("response_end") + c("rtt_client")).alias("ack_due"),
        *("requests", "request_frame", "response_frame", "response_start", "response_status", "response_body_due"),
        *("sender", "rst", "ttl", "lowest_ttl", "highest_ttl", "ip_id", "last_ip_id", "peer_ip_id", "goes_on", "later_frame"),
        *("later_time", "trigger_time", "rtt", "no_timestamps", "ahead"),
        *("refusal_frame", "refusal_time", "client_bytes", "server_bytes"),
    )


class LastAcks(Index):
    """What the clients of some connections left unacknowledged.

    `known`: connection -> bytes of the server that its client never acknowledged, and the time (ns) of its last packet.
    """

    NEEDS: ClassVar[tuple[str, ...]] = ("connection",)

    def __init__(self, known: Mapping[int, tuple[int, int]]) -> None:
        self.known = known

    @classmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> LastAcks:
        """Return what these candidates need (see world.Index)."""
        own = of_connections(tables.connections, pl.concat(wanted)).select(*cls.NEEDS, "server_unacknowledged", "end").collect()
        return cls(dict(zip(own["connection"], own.select("server_unacknowledged", "end").rows(), strict=True)))


ASKS = (LastAcks,)


def decide(x: Facts, world: World) -> Facts:
    """Report a complete response as lost if an RST in the client's name came before the ACK of the response, and the client never
    acknowledged the end of the response.
    """
    unacknowledged, last = world.of(LastAcks).known.get(x.connection, (0, 0))
    if x.ack_due is None or not unacknowledged or last < x.ack_due:
        return x
    return x._replace(severity="error", confidence="medium", state="unread")


def _outruns_ack() -> pl.Expr:
    """Return whether an RST in the client's name came after the last response, but before an ACK of the end of that response
    could have come."""
    soon = (c("response_frame") < c("frame")) & (c("time") - c("response_end") < c("rtt_client"))
    return ~c("lost") & c("last_on_connection") & (c("sender") == "client") & c("rst") & whole_response() & soon


def _confidence() -> pl.Expr:
    """Return the confidence that the exchange was lost because of the close; high if the row has no exchange.

    The evidence that another device sent the packet does not depend on the exchange.
    """
    unsure = pl.when("never").then(pl.lit("medium"))
    return unsure.when(pl.col("exchange").is_null()).then(pl.lit("high")).otherwise(confidence(pl.lit(value=False)))


def _begun() -> pl.Expr:
    """Return whether the response had begun before the close. After an RST in the server's name, the client discards the
    response."""
    late = (c("sender") == "server") & c("rst") & (c("response_frame") > c("frame"))
    return begun() & ~late.fill_null(value=False)


def _is_forged() -> pl.Expr:
    """Return whether the response itself came from the device: its first byte is in the FIN that the server did not send."""
    return (begun() & (c("sender") == "server") & ~c("rst") & (c("response_frame") == c("frame"))).fill_null(value=False)


def _bytes_passed() -> pl.Expr:
    """Return the number of body bytes that passed the capture point before the client stopped receiving.

    After an RST in the server's name, later bytes do not count, because the client discards them.
    """
    before = (c("reached") - c("response_offset") - c("response_head_bytes")).clip(0)
    by_server = (c("sender") == "server") & c("rst")
    return pl.when(by_server).then(pl.min_horizontal(before, "response_body_bytes")).otherwise("response_body_bytes")


def _cut_off() -> pl.Expr:
    """Return whether the response had begun, but its end had not passed the capture point before the close."""
    later = (c("sender") == "server") & c("rst") & (c("response_end_offset") > c("reached"))
    return _begun() & ~_is_forged() & ((c("response_end_reason") != "complete") | later).fill_null(value=False)


def _is_lost() -> pl.Expr:
    """Return whether a request or response was lost.

    This is the case if the response was incomplete at the close, if the request had not been answered by then, or if the device
    answered it in place of the server.
    """
    unanswered = pl.col("has_request").fill_null(value=False) & ~_begun()
    return (unanswered | _cut_off() | _is_forged()) & ~pl.col("upgraded").fill_null(value=False)


def _never_arrived() -> pl.Expr:
    """Return whether an RST in the client's name followed bytes of the client, probably a request, that never arrived.

    The previous exchange was complete by then.
    """
    refused = (c("sender") == "client") & c("rst") & c("refusal_frame").is_not_null()
    idle = ~c("lost") & c("last_on_connection") & ~c("upgraded") & whole_response()
    return (refused & idle).fill_null(value=False)


def _missing() -> pl.Expr:
    """Return how many bytes of a response that was cut off are missing; null if its length is unknown, or if none is missing."""
    sized = (c("response_framing") == "content-length") & c("response_body_due").is_not_null()
    left = c("response_body_due") - _bytes_passed()
    return pl.when(c("lost") & _cut_off() & sized & (left > 0)).then(left)


def _state() -> pl.Expr:
    """Return what became of the exchange: a key of _STATES, except "unread"."""
    half = c("has_request") & (c("request_end_reason") != "complete")
    states = {
        "forged": _is_forged(),
        "missing": _missing().is_not_null(),
        "cut": _cut_off(),
        "half": half,
        "late": begun(),
        "unanswered": pl.lit(value=True),
    }
    lost = [pl.when(c("lost") & fits).then(pl.lit(state)) for state, fits in states.items()]
    other = c("upgraded").fill_null(value=False) | c("exchange").is_null()
    lost.insert(0, pl.when("never").then(pl.lit("never")))
    return pl.coalesce(*lost, pl.when(other).then(pl.lit("other")), pl.lit("idle"))


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the close, and about what was lost."""
    close, signs = fin_or_rst(x.rst), "; ".join(_signs(x))
    late = duration_text(x.response_start - x.end) if x.state == "late" and x.response_start is not None else ""
    where, cut = _STATES[x.state]
    peer = "client" if x.sender == "server" else "server"
    return {
        "origin": "between",
        "close": close,
        "ended": "reset" if x.rst else "closed",
        "signs": signs,
        "where": where.format(x, unanswered=_UNREAD if x.sender == "client" else " before a response came"),
        "cut": cut.format(x, late=late),
        "more": f" Further requests that were lost: {x.requests - 1}." if x.requests > 1 else "",
        "hops": _distance(x.ttl),
        "evidence": packets(
            (x.request_frame if x.state != "never" else None, x.start, "the request"),
            (x.response_frame if x.state != "never" else None, x.response_start, f"the response begins: {x.response_status}"),
            (x.frame, x.end, f"the {close} sent in the {x.sender}'s name: {signs}"),
            (x.later_frame, x.later_time, f"the {x.sender} itself goes on sending as if it had sent no {close}"),
            (x.refusal_frame, x.refusal_time, f"the {peer}'s ACK, which does not cover the {x.ahead} bytes before the RST"),
        ),
    }


_UNREAD = " before the client received a response"
_MIDDLE = " in the middle of a response ({0.response_status})"

_STATES = {
    "forged": (
        " with a {0.response_status} of its own",
        "The {0.response_status} is in the same packet: the device answered the request, not the server.",
    ),
    "missing": (_MIDDLE, " of {0.response_body_due} bytes of the body of the {0.response_status} are missing."),
    "cut": (_MIDDLE, "The {0.response_status} was not complete: {0.passed} bytes of its body had come."),
    "half": ("{unanswered}", "The request was not complete, and was not answered."),
    "late": ("{unanswered}", "The request had not been answered by then: the {0.response_status} came {late} later."),
    "unanswered": ("{unanswered}", "The request was not answered."),
    "unread": (
        _UNREAD,
        "The client never acknowledged the end of the {0.response_status}, so this end probably did not reach the client.",
    ),
    "never": (
        " before a request arrived",
        "The bytes before the RST, probably a request, never arrived at the server. The responses to all earlier requests were "
        "complete.",
    ),
    "other": ("", "By then {0.client_bytes} bytes of the client and {0.server_bytes} bytes of the server had passed."),
    "idle": ("", "No request was in progress: the next request needs another connection."),
}
"""What the title adds, and the sentence in the message, for each state of the exchange."""


def _signs(x: Facts) -> Iterator[str]:
    """Yield a text for each sign that another device sent the packet."""
    if x.ttl is not None:
        usual = f"{x.lowest_ttl}" if x.lowest_ttl == x.highest_ttl else f"{x.lowest_ttl} to {x.highest_ttl}"
        yield f"TTL {x.ttl}, although the {x.sender}'s packets have {usual}"
    if x.ip_id is not None:
        yield f"IP identification {_ip_id_sign(x, x.ip_id)}"
    if x.goes_on:
        yield f"the {x.sender} went on sending"
    if x.trigger_time is not None:
        after, trip = duration_text(x.end - x.trigger_time), duration_text(x.rtt or 0)
        yield f"the packet came {after} after the one that it answers, although the round trip to the {x.sender} takes {trip}"
    if x.no_timestamps:
        yield "no timestamp option, which all other packets carry"
    if x.ahead is not None:
        peer = "client" if x.sender == "server" else "server"
        refused = f", and the {peer}'s ACK after the {fin_or_rst(x.rst)} does not cover the bytes in between"
        yield f"a sequence number {x.ahead} bytes above the next expected one{refused if x.refusal_frame is not None else ''}"


def _ip_id_sign(x: Facts, number: int) -> str:
    if number == 0:
        return f"0, although the {x.sender} increments it with every packet (last: {x.last_ip_id})"
    if x.peer_ip_id is not None and number - x.peer_ip_id in (0, 1, -0xFFFF):
        peer = "client" if x.sender == "server" else "server"
        return f"{number}, which continues the {peer}'s ({x.peer_ip_id}) and not the {x.sender}'s own ({x.last_ip_id})"
    return f"{number}, far from the {x.sender}'s own ({x.last_ip_id})"


def _distance(ttl: int | None) -> str:
    """Return the text with the device's distance in hops, computed from the usual initial TTLs of 64, 128 and 255.

    The text is empty if the distance exceeds MOST_HOPS, because the device then uses another initial TTL.
    """
    if ttl is None:
        return ""
    hops = (255 if ttl > 128 else 128 if ttl > 64 else 64) - ttl
    return f"The packet's TTL of {ttl} suggests a distance of {hops} hops from the capture point. " if hops <= MOST_HOPS else ""
