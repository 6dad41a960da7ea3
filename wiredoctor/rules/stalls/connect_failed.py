"""A connection could not be established.

What it means
    The client sent a SYN and got no connection that it could use. Kind refused: an RST came back at once, because nothing
    listens on that port, or because a firewall rejects the connection with an RST. Kind prohibited: a firewall, or a route that
    forbids the connection, answered with an ICMP error, or with an RST in the server's name. Kind unreachable: a router
    answered with another ICMP error. It has no route to the server, no host in that network has the address, or the packet ran
    into a routing loop. Kind timed-out: no answer came, although the SYN was sent several times. Kind closed-at-once: the
    server answered with a SYN-ACK, and reset the connection before it had sent any data. A relay does that if nothing listens
    behind it, and so does a service that does not let the client in. Kind given-up: the server answered, but the client had
    given up.

    Not every failed attempt is a failure. Kind tried-next: the client knows another address of the server, which answered. Kind
    not-up-yet: a program checked whether a port is free, or whether a server is up already. Kind down: the server was back
    within a minute.

Why it hurts
    The program that needed the connection failed. A refusal is at least quick. Without an answer, clients wait for a long
    time (Linux for more than two minutes, Windows for 21 s), unless they have their own connect timeout. Programs on Linux
    report an RST or ICMP "port unreachable" as "Connection refused". They report other ICMP errors as "No route to host" or
    "Network is unreachable", prohibitions in ICMPv6 as "Permission denied", and a missing answer as "Connection timed out".
    They report closed-at-once as "Connection reset by peer", often when the program reads, not when it connects. Other
    systems ignore some of these errors and go on waiting.

How it is proved
    Kind refused: an RST acknowledges only the SYN, and no SYN-ACK came before or after it.

    If the server's SYN-ACKs to the client have the same time to live in at least two connections, and the RST has another one,
    another host or a device on the path sent the RST. The finding says so, also for kind down, with medium confidence.

    Kinds prohibited and unreachable: an ICMP or ICMPv6 error quotes the SYN (addresses, ports and sequence number), and the
    connection has no packets except SYNs of the client. It is of kind prohibited if the error is destination unreachable
    with code 3, 9, 10 or 13, or in ICMPv6 with code 1, 4, 5 or 6. "Port unreachable" (code 3, in ICMPv6 code 4) is among
    them: a host itself answers a SYN to a closed port with an RST, so this error comes from a firewall. All other errors are
    of kind unreachable. Their confidence is lower if the capture ends within 3 s of the last SYN, because some clients try
    again. A refusal is also of kind prohibited if the RST came too early to be from the server: the server accepted at least
    two other connections of the client on that port, its SYN-ACKs took at least 5 ms, and the RST took at most a tenth of
    the shortest of these times.

    Kind timed-out: at least three SYNs have the same sequence number, the server sent no packet, and nothing followed for 30
    s after the last SYN. If the capture ends sooner, or the ports were used again, 3 s after the first SYN and 0.9 s after the
    third are enough, with lower confidence. Two SYNs are enough if the client's next connection to the server, within 30 s, had
    no answer either. By then, the server must have had 3 s after the first SYN of the first connection, and 0.9 s after the
    last SYN of each connection. If the client is a gateway that then reported the failure to its own client, two SYNs are
    enough, or one SYN that stayed unanswered for 0.9 s. One SYN is also enough if the client tried at least three times in
    a row, each time with a single SYN that stayed unanswered for 0.9 s: its connect timeout is shorter than the time after
    which TCP repeats a SYN. That does not apply if the attempts are less than 100 ms apart on average, or if there are more
    than 10,000 (a flood), or if the client makes such attempts at more than 20 addresses and ports (a scan).

    Kind timed-out also applies if the server answered the SYNs with nothing but ACKs that do not acknowledge them (challenge
    ACKs, RFC 5961 section 4): it still knows an earlier connection on these ports, so the port was used again too soon. Two
    SYNs are enough. The RST with which the client ends that connection was dropped, or the ACK did not reach the client. If the
    ACK is not in the capture, the port is named as a possible reason if an established earlier connection between the same
    addresses and ports was not closed by both sides. It is named alone if the server also accepted other connections before and
    after, and all its unanswered attempts have such an earlier connection. If the server accepted another connection between
    the SYNs, its process runs and its listen queue has room.

    If all SYNs of a connection of kind timed-out have a wrong checksum (of the IP header, of TCP, or of the UDP header of a
    tunnel), they arrived damaged, and the finding says so. This needs another connection of the same client in the capture whose
    packets without payload have correct checksums: then its checksums were computed before the packets were captured.

    Kinds refused and timed-out name ECN and early data if at least three SYNs failed, all of them with the ECN flags (ECE and
    CWR) or with data, and the server accepted at least two SYNs, none of them with either. This is a warning with medium
    confidence. If only other clients were accepted, the client's address may be the reason instead, and the finding says so.

    Kind closed-at-once: the server's RST came within a second of its SYN-ACK. The server had sent no data, and the client
    none either, or only a part of the first message of a TLS handshake. The sequence and ACK numbers of the RST show that no
    data of either side is missing from the capture. The client had not closed before.

    Kind given-up: at least three times in a row, the client answered the SYN-ACK of the server with an RST. It had sent nothing
    but its SYN, the round trip took at least 30 ms, and no address of the other IP version answered on that port meanwhile.

    The kind of an attempt is the first of these that applies:

    1. tried-next: an address of the other IP version answered the same client on the same port with a SYN-ACK. The SYN-ACK came
    during the attempt or within 300 ms after its end. If the SYN-ACK took longer than 300 ms, it is enough that its SYN
    was sent by then. tried-next also applies to attempts without an answer. Packets do not show which IPv4 and IPv6 addresses
    belong to one host. So, except on the loopback interface, the rule has two more conditions. During that time, only one
    client got answers on that port from addresses of the other IP version, and all these answers came from one server. They may
    come from several servers if a router has no route to the network of the first address: then the client cannot reach any
    server there.

    2. down: the address had accepted connections before, and accepted one again within 60 s of the first refusal. If it
    accepted one between two refusals less than 1 s apart, it was not down, and the kind is refused: its listen queue is full
    (Windows then answers with an RST), or a limit rejects some connections. Kind down is a note if there was only one attempt,
    from the server's own host: many servers connect to their own port before they listen, to learn whether it is free.

    3. not-up-yet: the address had accepted no connection before, and accepted one within 60 s of the first refusal.

    Neither 2 nor 3 applies if only SYNs with ECN or data failed, as described above.

    4. refused, prohibited, unreachable, timed-out, closed-at-once or given-up.

    A connection that the server resets at once does not count as an answer of another address, nor does it show that a
    server is up. If the next SYN to that port is refused within a second, the process that listened there has ended.

    If 127.0.0.1 and ::1 (localhost) both refuse within 300 ms, they count as one attempt, the second one. There is one
    finding per client and server, with the number of failures.

    The time lost is the time from the first SYN to the answer that ended the attempt. If no answer came, it ends with the
    last SYN, although the client may have waited longer. With tried-next it ends with the SYN to the other address. If
    attempts of one client in one finding overlap, the common time counts once. This also holds if a client tries a port
    first over one IP version and within 300 ms over the other. No time is lost in attempts that took less than a millisecond, or
    in not-up-yet and down. Nor is time lost if a server refuses the first SYN of a client three times or more: a program
    then tries again and again by itself. The attempts of a client at more than 20 addresses and ports do not count either.

What it is not
    If the SYN was answered in the end, connect-retry reports it, even if an ICMP error quoted an earlier SYN. Source quench
    and redirects are not failures. If NAT changed the addresses in an ICMP error, it matches no connection and is counted
    under "not analyzed". If a SYN-ACK comes after the client has given up, the kind is not timed-out. If the capture lacks the
    server's packets on another connection of the same client or server, SYNs without an answer are not reported. A challenge ACK
    after which the connection is established does no harm, except that it costs time (connect-retry). A client that
    only checks whether a port is open closes the connection itself, so it is not reported. A server that closes with a FIN may
    have nothing to send (FTP, an empty file), and the client's program reads an end of file, not an error. If neither side sent
    anything, packets do not show whether the client expected more: the report lists such a connection under "Not judged". If the
    client had sent an HTTP request, no-response reports the close, and handshake-failed if it had sent a ClientHello. If the
    server did not send the reset, foreign-reset reports it. The attempt of a gateway keeps its kind, such as refused, even if
    another attempt succeeds: the result of its client's request is more important.

    A traceroute sends SYNs that routers discard on purpose because the TTL is low. So the ICMP error "time exceeded" is not a
    failure in two cases: the server answered another SYN of the client within 60 s before or after, or two or more routers sent
    such errors about SYNs of the client to that host.

What to do
    Kind refused: start the service, or have the client use the port on which it listens. Kind tried-next: have the server
    listen on both addresses. Kind down: have the new process listen before the old one stops. Kind not-up-yet: nothing has to
    change, because the program tried again. Kind prohibited: find the rule on the host that sent the error, or on the path near
    the client if it sent an RST (iptables -nvL, nft list ruleset, ip route), and allow the connection. Kind unreachable: check
    the routes and neighbors of that router (ip route get, ip neigh). Kind timed-out: check whether the server is up, and which
    firewall on the path drops the packets; if it had accepted connections before, check whether its listen queue is full; if a
    port was used again too soon, use more ports and let the challenge ACK and the RST pass; if the SYNs arrived damaged, find the
    network card, the driver or the device that sends wrong checksums; if another address answered, have
    the answers return through the device that translates the server's address. Kind closed-at-once: check whether a process
    listens behind the balancer or relay that accepted the connection, and whether the service lets this client in. Kind
    given-up: give the client a connect timeout of several round trips.

References
    RFC 9293 sections 3.5, 3.9.2.2 and 3.10.7, RFC 8305 section 5, RFC 792, RFC 1812 section 5.2.7, RFC 4443 section 3, tcp(7),
    iptables-extensions(8), ip-route(8).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold, host
from wiredoctor.gateways.tries import RETRY
from wiredoctor.rules.shared import attempt_groups, icmp
from wiredoctor.rules.shared.attempt_groups import NEXT_ADDRESS, group_failures
from wiredoctor.rules.shared.attempt_words import Facts, attempt_evidence, other_refusal, words_of_kind
from wiredoctor.rules.shared.evidence import CANDIDATE, candidate
from wiredoctor.rules.shared.words import retry_sentence
from wiredoctor.tables import PROTOCOLS
from wiredoctor.world import attempts
from wiredoctor.world.numbers import DURATION

c = pl.col

RULE = Rule(
    symptom="*connection refused*, *connect timed out*",
    severity={
        **dict.fromkeys(("refused", "prohibited", "unreachable", "timed-out", "closed-at-once"), "error"),
        **{"tried-next": "note", "not-up-yet": "note", "down": "warning", "given-up": "note"},
    },
    title={
        "refused": "Connection refused: {where}",
        "prohibited": "Connection rejected by a firewall: {where}",
        "unreachable": "Not reachable: {where}",
        "timed-out": "No answer to connection attempts: {where}",
        "closed-at-once": "Connection accepted and reset at once: {where}",
        "given-up": "The client had given up connecting when the answer came: {where}",
        "tried-next": "{where} {did}, and {next_server} answered",
        "not-up-yet": "Not listening yet: {where}",
        "down": "No connections accepted for {down_for}: {where}",
    },
    message={
        "refused": "{where} answered the SYN of {whose} with an RST{tries}{because}.{before}{sender}{other}{many}",
        "prohibited": "{answerer} answered the SYN of {whose} to {where} with {said}: a rule there {forbids}. "
        "Programs report {errno}.{again}{many}",
        "unreachable": "{router} answered the SYN of {whose} to {where} with {said}{reason}. Programs report "
        "{errno}.{again}{many}",
        "timed-out": "{where} did not {did_not} the SYN of {whose}{sent}: {assumed}.{many}",
        "closed-at-once": "{where} accepted the connection of {whose} and reset it {reset_after} later, before it had sent a "
        'byte. Programs report "Connection reset by peer". {accepted_by}{many}',
        "given-up": "{whose} answered the SYN-ACK of {where} with an RST instead of an ACK, {answered_after} after the SYN: the "
        "program had given up, as it does when its connect timeout is shorter than the round trip. Or it only checks whether the "
        "port is open, as some health checks and scanners do.{many}",
        "tried-next": "{where} {did} for {whose}. {next_server} answered {then} after that SYN. The server can be reached "
        "at only one of two addresses, but no request failed, because the client tried both.{waited}{many}",
        "not-up-yet": "{where} answered the SYN of {whose} with an RST. It accepted its first connection in this capture {then} "
        "later: a program checked whether the port was free, or did not wait until the server was ready.{other}{many}",
        "down": "{where} answered the SYN of {whose} with an RST, although it had accepted connections before. It accepted the "
        "next connection {down_for} after the first refusal{outages}.{restart}{probe}{other}{many}",
    },
    remedy={
        "refused": "{refused_remedy}",
        "prohibited": "{prohibited_remedy}",
        "unreachable": "On {router}, check the route to the server: ip route get ADDRESS shows the route (which may be missing, "
        "or of type unreachable), and ip neigh shows whether a host answers for the address. Check whether the server is up "
        "and has this address, and whether the client has the right one (DNS, a recreated container or pod). If the time to "
        "live was exceeded, traceroute shows which routers forward the packets in a loop. If the ICMP error came from the "
        "server's own address, that host may forward the port: check to which address (iptables -t nat -S, docker ps, kubectl "
        "get endpointslices).",
        "timed-out": "{timed_out_remedy}Give clients a connect timeout of a few seconds, so that they try the next address.",
        "closed-at-once": "{closed_remedy}",
        "given-up": "If the client reports connect timeouts, give it a connect timeout of several round trips: a lost SYN alone "
        "costs a second. If it is a health check or a scanner, nothing has to change.",
        "tried-next": "Clients that know only the first address fail. Have the server listen on both (Node: server.listen(PORT) "
        "without a host; nginx: listen 80 and listen [::]:80). Or have the name resolve only to the address on which it listens "
        "(/etc/hosts, DNS), or configure that address instead of the name (127.0.0.1 instead of localhost).",
        "not-up-yet": "Nothing has to change if the client tries again. Otherwise start the client when the server is ready: "
        "use a readiness probe, or condition: service_healthy in depends_on of Docker Compose.",
        "down": "{down_remedy}",
    },
    display_filter="{filter}",
    references=(
        Reference("RFC 9293 section 3.5, establishing a connection", "https://www.rfc-editor.org/rfc/rfc9293.html#section-3.5"),
        Reference(
            "RFC 9293 section 3.5.2, reset generation", "https://www.rfc-editor.org/rfc/rfc9293.html#name-reset-generation"
        ),
        Reference("RFC 8305 section 5, connection attempts", "https://www.rfc-editor.org/rfc/rfc8305.html#section-5"),
        Reference("tcp(7), tcp_syn_retries", "https://man7.org/linux/man-pages/man7/tcp.7.html"),
        Reference("RFC 792, destination unreachable", "https://www.rfc-editor.org/rfc/rfc792.html"),
        Reference("RFC 1812 section 5.2.7, ICMP errors", "https://www.rfc-editor.org/rfc/rfc1812.html#section-5.2.7"),
        Reference("RFC 4443 section 3, ICMPv6 errors", "https://www.rfc-editor.org/rfc/rfc4443.html#section-3"),
        Reference("iptables-extensions(8), REJECT", "https://man7.org/linux/man-pages/man8/iptables-extensions.8.html"),
    ),
    explained_by=(("foreign-reset", "connection"),),
    unexplained=("refused", "prohibited", "unreachable", "timed-out", "not-up-yet", "down"),
    summary=True,
    any_order=True,
    absence=True,
    ends=True,
    protocols=PROTOCOLS,
)

SYNS = Threshold(
    "3 SYNs", "the minimum number of SYNs without an answer; two may be lost on a bad path, and some scanners send only one"
)
PATIENCE = Threshold(
    "30 s",
    "the minimum time without an answer after the last SYN; an answer never takes this long, and the pauses between the first "
    "five SYNs of Linux are shorter",
)
AT_THE_END = Threshold(
    "3 s",
    "the minimum time without an answer after the first SYN, if the capture ends too soon for PATIENCE; still longer than any "
    "round trip",
)
GIVEN_UP = Threshold(
    "2 SYNs",
    "the minimum number of SYNs if the client has given up: a gateway reported the failure to its own client, or the client "
    "then tried again on another connection, without an answer",
)
LONE = Threshold(
    "900 ms",
    "the minimum time without an answer after the third SYN if the capture ends too soon for PATIENCE, after the second SYN if "
    "the client then tried again, or after a single SYN; Linux retransmits a SYN after 1 s",
)
NEXT_WAIT = Threshold(
    "1 s", "if a client tries the other address only after this time, a user has waited, so the finding is a warning"
)
TOO_LATE = Threshold(
    "30 ms",
    "the minimum time from the SYN to the client's RST for kind given-up; an RST that comes sooner is from a health check",
)
IN_A_ROW = Threshold(
    "3 attempts",
    "the minimum number of attempts of the kind given-up, or of attempts whose only SYN was not answered; a client program may "
    "exit once while it connects, and a scanner tries each port twice at most",
)
MANY_SINGLE = Threshold(
    "10000 attempts",
    "if more single SYNs than this had no answer, they are a flood or a scan, and are not examined, to save memory",
)
APART = Threshold(
    "100 ms", "the minimum average interval of attempts with a single SYN; the SYNs of a flood follow each other more quickly"
)
AT_ONCE = Threshold("1 s", "the maximum time from the SYN-ACK to the reset; a server that waits for a request closes later")
SOON = Threshold("60 s", "the maximum time until a server that is starting or restarting accepts connections")
BUSY = Threshold(
    "1 s",
    "if a server accepts a connection between two refusals less than this apart, it did not restart: few servers can restart "
    "twice in this time",
)
NEARER = Threshold(
    "5 ms",
    "if the server's SYN-ACKs take at least this long, RSTs that come much sooner are from a nearer device; no host delays a "
    "SYN-ACK by this much",
)
NEARER_TIMES = Threshold(
    "10 times",
    "the minimum ratio of the time that the server's SYN-ACKs take to the time that an RST took, for the RST to be from a "
    "nearer device; jitter is smaller",
)
NEARER_SEEN = Threshold(
    "2 connections",
    "the minimum number of SYN-ACKs that show how far away the server is, and which TTL its packets have; a single SYN-ACK may "
    "be an exception",
)
TRACED = Threshold(
    "60 s",
    "if the server answers another SYN of the client within this time before or after a SYN whose TTL was used up, there is no "
    "routing loop; traceroute takes less time for all hops together",
)
SHARED_THRESHOLDS = (attempt_groups,)


def may_match() -> Mapping[str, pl.Expr]:
    """Return a cheap condition for each table.

    If no row of a batch meets the condition for its table, the batch has no candidate findings.
    """
    reset = (c("close") == "rst") & (c("server_bytes") == 0) & c("history").str.contains(r"^ST?ht?(?:A(?:r|Da?r)|R)$")
    told = c("refused_frame").is_not_null() | c("syn_error_frame").is_not_null() | reset
    single = (c("syns") == 1) & (c("server_packets") == 0) & _is_alone()
    silent = (c("syns") >= GIVEN_UP.value) | (single & (single.sum() <= MANY_SINGLE.value))
    return {"connections": told | (silent & _no_answer()), "tries": c("exchange").is_null()}


def _no_answer() -> pl.Expr:
    """Return whether the client sent only SYNs, and the server no packet, or only ACKs of an earlier connection."""
    # some clients reset an attempt when they give it up
    only_syns = (c("client_packets") == c("syns")) | (c("history") == "STR")
    return ((c("server_packets") == 0) & only_syns) | _is_challenged()


def _is_challenged() -> pl.Expr:
    """Return whether the server answered each SYN with nothing but an ACK of an earlier connection, which the client may have
    answered with an RST.
    """
    unanswered = ~c("connected") & c("first_answer_frame").is_null() & c("refused_frame").is_null()
    return c("challenge_frame").is_not_null() & unanswered & c("history").str.contains("^S[RTagtw]*$")


def _is_alone() -> pl.Expr:
    """Return whether neither an answer nor another SYN came for at least LONE after the last SYN."""
    return c("final_at") - c("last_syn_time") >= LONE.value


def find(connections: pl.LazyFrame, tries: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each finding about failed connections.

    The attempts that may have failed are selected first, because comparing all connections with each other takes far longer.
    They have few columns, because a port scan produces a million of them.
    """
    of_gateways = tries.filter(c("exchange").is_null()).group_by("connection").agg(c("certain").any()).collect()
    single = _no_answer() & (c("syns") == 1) & _is_alone()
    singles = attempts.single_syns_in_a_row(
        connections, single, least=IN_A_ROW.value, apart=APART.value, most=MANY_SINGLE.value,
        most_servers=attempt_groups.MANY_SERVERS.value,
    )  # fmt: skip
    # a gateway that has answered its client has given up the attempt
    given_up = _is_one_of(of_gateways.filter("certain")["connection"]) & (
        (c("syns") >= GIVEN_UP.value) | (c("final_at") - c("syn_time") >= LONE.value)
    )
    states = {
        "refused": c("refused_frame").is_not_null() & c("first_answer_frame").is_null() & ~c("connected"),
        "quoted": c("syn_error_frame").is_not_null() & _no_answer(),
        "silent": _no_answer() & (_is_silent() | given_up),
        "few": _no_answer() & _had_few_syns(),
        "challenged": _is_challenged() & _had_few_syns(),
        "closed_at_once": _closed_at_once(),
        "given_up": _given_up(),
        "single": _is_one_of(singles["connection"]),
    }
    waited = c("final_at") - c("last_syn_time")
    some = connections.filter(pl.any_horizontal(*states.values()))
    rows = some.select(*_OF_ATTEMPT, attempts.client_key(), waited.alias("waited"), **states).collect(engine="streaming")
    rows = _with_damage(_without_unseen(rows, connections), connections)
    accepted = attempts.accepted_near(rows, connections, **{name: states[name] for name in ("closed_at_once", "given_up")})
    failed = _failed(rows, accepted, singles, connections)
    # of the attempts of a gateway in the same outage, some may not show for which request they were made
    of_gateway = _is_one_of(of_gateways["connection"]).any().over("client_host", "server", "refused")
    failed = failed.with_columns(of_gateway=of_gateway)
    return _grouped(_with_outcome(failed, accepted, connections)).lazy()


def _is_one_of(ids: pl.Series) -> pl.Expr:
    return c("connection").is_in(ids.implode())


def _is_silent() -> pl.Expr:
    """Return whether enough SYNs had no answer for long enough."""
    long_ago = (c("final_at") - c("syn_time") >= AT_THE_END.value) & (c("final_at") - c("third_syn_time") >= LONE.value)
    return (c("syns") >= SYNS.value) & ((c("final_at") - c("last_syn_time") >= PATIENCE.value) | long_ago)


def _had_few_syns() -> pl.Expr:
    """Return whether the SYNs are enough if the client then tried again."""
    return (c("syns") >= GIVEN_UP.value) & _is_alone()


_OF_ATTEMPT = (
    *("connection", "client", "server", "client_host", "syns", "syn_frame", "syn_time", "last_syn_frame", "last_syn_time"),
    *("first_answer_time", "refused_frame", "refused_time", "answer_ttl", "last_frame", "end"),
    *("challenge_frame", "challenge_time", "syn_ecn_or_data", "damaged_syns", "wrong_checksum"),
    *("syn_error_frame", "syn_error_time", "syn_error_router", "syn_error_type", "syn_error_code"),
)


def _without_unseen(rows: pl.DataFrame, connections: pl.LazyFrame) -> pl.DataFrame:
    """Drop attempts without an answer if the capture lacks the server's packets on another connection of the client or server."""
    answered = pl.any_horizontal("refused", "quoted", "closed_at_once", "given_up") | c("challenge_frame").is_not_null()
    unanswered = rows.filter(~answered)
    if unanswered.is_empty():
        return rows
    blind = connections.filter(c("one_sided") & (c("client_packets") > 0))
    hosts = blind.select("client_host", server_host=attempts.host_of("server")).unique().collect(engine="streaming")
    unseen = c("client_host").is_in(hosts["client_host"].implode())
    unseen |= attempts.host_of("server").is_in(hosts["server_host"].implode())
    return pl.concat([rows.filter(answered), unanswered.filter(~unseen)])


def _with_damage(rows: pl.DataFrame, connections: pl.LazyFrame) -> pl.DataFrame:
    """Add the column `damaged`: which checksum is wrong in all SYNs of an attempt; 0 if none is, or if that shows nothing.

    It shows nothing unless the client's packets on another connection have correct checksums.
    """
    damaged = (c("damaged_syns") > 0) & (c("damaged_syns") == c("syns"))
    hosts = pl.Series([], dtype=pl.String)
    if rows.select(damaged.any()).item():
        computed = connections.filter("client_checksums").select("client_host").unique().collect(engine="streaming")
        hosts = computed["client_host"]
    shown = damaged & c("client_host").is_in(hosts.implode())
    return rows.with_columns(pl.when(shown).then("wrong_checksum").otherwise(0).alias("damaged"))


def _failed(
    rows: pl.DataFrame, accepted: pl.DataFrame, singles: pl.DataFrame, connections: pl.LazyFrame
) -> pl.DataFrame:  # fmt: skip
    """Return the attempts that failed, with their kinds (`number`) without regard to other attempts."""
    error = icmp.key("syn_error_router", "syn_error_type", "syn_error_code").cast(pl.Int32)
    # if an RST follows, the ICMP error did not decide
    decided = {"error": error, "router": c("syn_error_router")}
    rows = rows.with_columns(pl.when(~c("refused")).then(value).alias(name) for name, value in decided.items())
    others = attempts.resets_of_others(
        rows.filter("refused"), accepted, least=NEARER.value, times=NEARER_TIMES.value, number=NEARER_SEEN.value
    )
    again = attempts.tried_again(
        connections, _no_answer() & _had_few_syns(), rows.filter(c("few") & (c("syns") == GIVEN_UP.value)),
        within=PATIENCE.value, alone=LONE.value, together=AT_THE_END.value,
    )  # fmt: skip
    in_a_row = attempts.given_up_in_a_row(rows.filter("given_up"), accepted, IN_A_ROW.value)
    time_exceeded = c("error").is_in([icmp.number(*one) for one in icmp.TIME_EXCEEDED])
    traced = attempts.traced(rows.filter(c("quoted") & time_exceeded), accepted, TRACED.value)
    refused, quoted, dropped, abandoned = (c(name) for name in ("refused", "quoted", "closed_at_once", "abandoned"))
    silence = c("silent") | c("challenged") | (c("few") & _is_one_of(again)) | _is_one_of(attempts.in_vain(singles, accepted))
    prohibited = c("error").is_in([icmp.number(*one) for one in icmp.PROHIBITED])
    kind = (
        pl.when(refused & c("answered_in").is_null())
        .then(attempts.REFUSED)
        .when(refused | (quoted & prohibited))
        .then(attempts.PROHIBITED)
        .when(quoted)
        .then(attempts.UNREACHABLE)
        .when(dropped)
        .then(attempts.CLOSED_AT_ONCE)
        .when(abandoned)
        .then(attempts.GIVEN_UP)
        .otherwise(attempts.TIMED_OUT)
    )
    long = c("waited") >= PATIENCE.value
    challenged = c("challenge_frame").is_not_null() & (c("syns") >= SYNS.value)
    proved = refused | dropped | challenged | (quoted & (prohibited | (c("waited") >= AT_THE_END.value))) | long
    return (
        rows.with_columns(abandoned=_is_one_of(in_a_row))
        .filter((c("syns") > 0) & (refused | quoted | silence | dropped | abandoned) & ~_is_one_of(traced))
        .join(others, on="connection", how="left")
        .with_columns(
            pl.when(c("last_syn_frame") != c("syn_frame")).then("last_syn_frame").alias("last_syn_frame"),
            kind.cast(pl.UInt8).alias("number"),
            (~abandoned & c("reset_ttl").is_null() & proved).alias("sure"),
        )
        .with_columns(
            _of_kind("refused_frame", "syn_error_frame", "last_frame").alias("answer_frame"),
            _of_kind("refused_time", "syn_error_time", "end").alias("answer_time"),
        )
    )


_PROOF = (
    *("syn_frame", "syn_time", "answer_frame", "answer_time", "last_syn_frame", "last_syn_time", "first_answer_time"),
    *("error", "router", "answered_in", "round_trip", "reset_ttl", "accepted_ttl", "challenge_frame", "challenge_time"),
    "damaged",
)


def _with_outcome(failed: pl.DataFrame, accepted: pl.DataFrame, connections: pl.LazyFrame) -> pl.DataFrame:
    """Set the final kinds of failures. If both addresses of localhost refused a client, drop the first of the two refusals.

    `failed_as`: the kind without regard to other attempts. `then_frame`, `then_time`: the SYN-ACK that decides the final kind.
    It answers another attempt, or (kind timed-out) was sent by `next_server` although the SYN went to another address.
    Attempts of gateways keep their kind, because the result of their client's request is more important.
    """
    # the client of a single SYN gave it up at an unknown time, before TCP repeated it
    gave_up = pl.when((c("number") == attempts.TIMED_OUT) & (c("syns") == 1)).then(LONE.value).otherwise(0)
    over = pl.max_horizontal("answer_time", "last_syn_time") + gave_up
    no_network = c("error").is_in([icmp.number(*one) for one in icmp.NO_NETWORK]).fill_null(value=False)
    failed = failed.with_columns(over.alias("over"), no_network.alias("no_network"))
    refused, of_gateway = c("number") == attempts.REFUSED, c("of_gateway")
    pairs = attempts.other_refusals(failed.filter(refused & ~of_gateway), NEXT_ADDRESS.value)
    known = failed.join(pairs, on="connection", how="left").filter(~c("superseded").fill_null(value=False))
    usable = accepted.filter(~c("closed_at_once"))
    nexts = attempts.next_addresses(known.filter(~of_gateway & c("other_frame").is_null()), usable, NEXT_ADDRESS.value)
    either = known.filter(c("number").is_in([attempts.REFUSED, attempts.TIMED_OUT]))
    accepts = attempts.acceptances(either.filter(~of_gateway), usable, BUSY.value)
    if (by_gateways := either.filter(of_gateway)).height:
        before = attempts.acceptances(by_gateways, usable, BUSY.value).select("connection", "before_frame", "before_time")
        accepts = pl.concat([accepts, before], how="diagonal")
    known = known.join(nexts, on="connection", how="left").join(accepts, on="connection", how="left")
    known = known.join(_ended(failed), on="connection", how="left")
    timed_out = failed.filter(c("number") == attempts.TIMED_OUT)
    known = known.join(attempts.answered_elsewhere(timed_out, connections, LONE.value), on="connection", how="left")
    known = known.join(attempts.same_ports(timed_out, connections, usable), on="connection", how="left")
    by_flags = attempts.differ_in_flags(either, usable, least=IN_A_ROW.value, accepts=NEARER_SEEN.value)
    known = known.join(by_flags, on="server", how="left")
    # a server that ignores a SYN may be up
    known = known.with_columns(pl.when(refused).then("down_since").alias("down_since"))
    at_next = c("next_frame").is_not_null()
    late = c("next_syn_time") - c("syn_time") >= NEXT_WAIT.value
    soon = (c("accepted_time") - c("down_since") <= SOON.value).fill_null(value=False)
    was_down = soon & c("before_frame").is_not_null() & ~c("busy").fill_null(value=False)
    not_up = soon & c("before_frame").is_null()
    differ = c("plain_frame").is_not_null() & c("number").is_in([attempts.REFUSED, attempts.TIMED_OUT])
    was_down, not_up = was_down & ~differ, not_up & ~differ
    back = was_down | not_up
    kind = (
        pl.when(at_next & late)
        .then(attempts.TRIED_LATE)
        .when(at_next)
        .then(attempts.TRIED_NEXT)
        .when(was_down & _checks_port())
        .then(attempts.PORT_CHECK)
        .when(was_down)
        .then(attempts.DOWN)
        .when(not_up)
        .then(attempts.NOT_UP_YET)
        .otherwise("number")
    )
    return known.with_columns(kind.cast(pl.UInt8).alias("number"), c("number").alias("failed_as")).select(
        *("connection", "number", "failed_as", "sure", "client", "server", "client_host", "syns", "of_gateway", *_PROOF),
        *("other_frame", "other_time", "ended_time", "busy"),
        pl.coalesce("next_server", "stray_server").alias("next_server"),
        *(
            pl.when(at_next)
            .then(f"next_{name}")
            .when(back)
            .then(f"accepted_{name}")
            .otherwise(pl.coalesce(f"stray_{name}", pl.when(differ).then(f"plain_{name}")))
            .alias(f"then_{name}")
            for name in ("frame", "time")
        ),
        *(differ.alias("by_flags"), "other_clients", "older_frame", "older_time", "port_alone", "between_frame", "between_time"),
        pl.when(at_next).then("next_syn_time").when(back).then("down_since").alias("since"),
        *(
            pl.when(c("number").is_in([attempts.DOWN, attempts.PORT_CHECK, attempts.REFUSED, attempts.TIMED_OUT]))
            .then(name)
            .alias(name)
            for name in ("before_frame", "before_time")
        ),
    )


def _checks_port() -> pl.Expr:
    """Return True if this was the only attempt while the server was down, and it came from the server's own host.

    Many servers connect to their own port before they listen, to learn whether it is free.
    """
    alone = pl.len().over("server", "accepted_frame") == 1
    return alone & (c("client_host") == attempts.host_of("server")) & (c("syns") == 1)


def _ended(failed: pl.DataFrame) -> pl.DataFrame:
    """Return the connections that the server reset at once, and the time (ns) at which it then refused a SYN: `ended_time`.

    The refusal shows that a process of the server had ended: a relay would have gone on accepting connections.
    """
    refusals = failed.filter(pl.col("number") == attempts.REFUSED).select("server", pl.col("answer_time").alias("ended_time"))
    closed = failed.filter(pl.col("number") == attempts.CLOSED_AT_ONCE).sort("answer_time")
    rows = closed.join_asof(
        refusals.sort("ended_time"), left_on="answer_time", right_on="ended_time", by="server", strategy="forward",
        tolerance=AT_ONCE.value, check_sortedness=False,
    )  # fmt: skip
    return rows.select("connection", "ended_time").drop_nulls()


def _closed_at_once() -> pl.Expr:
    """Return whether the server reset a connection that it had just accepted, before data was sent.

    A TLS client may have sent a part of its ClientHello. handshake-failed reports the close after a complete one, and no-response
    after an HTTP request. The sequence and ACK numbers of the RST show that no data is missing from the capture.
    """
    reset = (c("closed_by") == "server") & (c("close") == "rst") & c("history").str.contains("^ST?ht?A(?:r|Da?r)$")
    quiet = (c("server_bytes") == 0) & ((c("client_bytes") == 0) | ((c("protocol") == "tls") & (c("tls_version") == "")))
    none_unseen = (c("server_rst_offset") <= 0) & (c("server_rst_ack").fill_null(0) <= c("client_bytes"))
    return (reset & quiet & none_unseen & (c("end") - c("first_answer_time") <= AT_ONCE.value)).fill_null(value=False)


def _given_up() -> pl.Expr:
    """Return whether the client had sent only its SYN, and answered the SYN-ACK with an RST at least TOO_LATE after that SYN."""
    late = c("end") - c("syn_time") >= TOO_LATE.value
    return (c("history").str.contains("^ST?ht?R$") & (c("server_bytes") == 0) & late).fill_null(value=False)


def _of_kind(of_rst: str, of_icmp: str, of_close: str) -> pl.Expr:
    """Return one of three columns, depending on the event that ended the attempt; null if nothing answered the SYN.

    `of_rst`: for an RST in response to the SYN. `of_icmp`: for an ICMP error. `of_close`: for an RST soon after the SYN-ACK.
    """
    number = pl.col("number")
    rst = (number == attempts.REFUSED) | pl.col("answered_in").is_not_null()
    nothing = number == attempts.TIMED_OUT
    return (
        pl.when(rst)
        .then(of_rst)
        .when(number.is_in([attempts.CLOSED_AT_ONCE, attempts.GIVEN_UP]))
        .then(of_close)
        .when(~nothing)
        .then(of_icmp)
    )


_SEVERITIES = {attempts.TRIED_LATE: "warning", attempts.PORT_CHECK: "note"}


def _grouped(rows: pl.DataFrame) -> pl.DataFrame:
    """Combine failures by client host and server. Failures of kinds prohibited, unreachable and timed-out, and those of gateways,
    are combined only if one client, one server, or a client and a server together have many of them.
    """
    first = group_failures(rows)
    # the other failures may be a million
    told = rows[first["row"]].hstack(first.drop("row")).with_columns(
        pl.when("alone").then("connection").alias("connection"),
        pl.when("alone").then("client").when(c("clients") == 1).then("client_host").alias("client"),
        pl.when(c("servers") == 1).then("server").alias("server"),
        c("server").alias("first_server"),
        c("client").str.extract(r":(\d+)$").cast(pl.Int64).alias("client_port"),
    )  # fmt: skip
    kind = c("number").replace_strict(dict(enumerate(attempts.KINDS)), return_dtype=pl.String)
    by_server = [
        *(attempts.REFUSED, attempts.CLOSED_AT_ONCE, attempts.TRIED_NEXT, attempts.TRIED_LATE),
        *(attempts.DOWN, attempts.PORT_CHECK),
    ]
    itself = c("reset_ttl").is_null() & ~c("by_flags")
    server = pl.when(c("number").is_in(by_server) & itself).then(pl.lit("server"))
    side = server.when(c("number") == attempts.GIVEN_UP).then(pl.lit("client"))
    sure = pl.when(c("sure") & ~c("by_flags")).then(pl.lit("high")).otherwise(pl.lit("medium"))
    return told.select(
        *candidate(side, sure, "syn_frame", "syn_time", "end", kind=kind, delay=c("lost"), of="connection"),
        *("client", "server", c("failures").alias("events")),
        pl.when("by_flags")
        .then(pl.lit("warning"))
        .otherwise(c("number").replace_strict(_SEVERITIES, default=None, return_dtype=pl.String))
        .alias("severity"),
        (c("then_time") - pl.when(c("next_server").is_null()).then("since").otherwise("syn_time")).cast(DURATION).alias("then"),
        c("down_for").cast(DURATION),
        (c("answer_time") - c("first_answer_time")).cast(DURATION).alias("reset_after"),
        (c("answer_time") - c("syn_time")).cast(DURATION).alias("answered_after"),
        *(name for name in Facts._fields if name not in (*CANDIDATE, "retry")),
        pl.lit(None, RETRY).alias("retry"),
    )


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the attempts. A finding about many connections does not name any of them."""
    several = f" {x.failures} connections failed in this way; the first is shown." if x.failures > 1 else ""
    return {
        "where": _servers_text(x),
        "whose": f"{x.clients} clients" if x.clients > 1 else x.client_host,
        "many": several + _SCAN if x.servers > 1 else several,
        "filter": f"tcp.stream == {x.connection}" if x.alone else _SYN_OR_RST if x.router is None else _ICMP,
        "other": other_refusal(x),
        "addition": retry_sentence(x.retry),
        "evidence": attempt_evidence(x),
        **words_of_kind(x),
    }


def _servers_text(x: Facts) -> str:
    if x.servers == 1:
        return x.first_server
    if x.server_hosts == 1:
        return f"{x.servers} ports of {host(x.first_server)}"
    return f"{x.server_hosts} hosts" if x.server_hosts == x.servers else f"{x.servers} ports of {x.server_hosts} hosts"


_SCAN = " A client that tries this many ports is looking for open ones, or is configured with wrong ones."
_SYN_OR_RST = "tcp.flags.syn == 1 || tcp.flags.reset == 1"
_ICMP = "tcp.flags.syn == 1 && (icmp || icmpv6)"
"""The display filter for an ICMP error that quotes a SYN: Wireshark also applies tcp.flags to the quoted header."""
