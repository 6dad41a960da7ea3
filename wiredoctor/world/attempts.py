"""Find out what came before and after a connection attempt: another address answered, the server accepted later, or the client
tried again in vain. Also distinguish failed attempts from attempts that only probe the path.

Failed attempts are rows with `connection`, `client_host`, `client_key`, `server`, `syn_time` and `over`: the time (ns) when the
client learned of the failure, or sent its last SYN. There may be a million of them. They are compared with the few accepted
connections in `accepted_near`, so the connections are read once for all comparisons.
"""

from __future__ import annotations

import polars as pl

c = pl.col

KINDS = (
    *("refused", "prohibited", "unreachable", "timed-out", "tried-next", "not-up-yet", "down", "tried-next"),
    *("closed-at-once", "down", "given-up"),
)
REFUSED, PROHIBITED, UNREACHABLE, TIMED_OUT, TRIED_NEXT, NOT_UP_YET, DOWN, TRIED_LATE, CLOSED_AT_ONCE, PORT_CHECK, GIVEN_UP = (
    range(len(KINDS))
)
"""Indexes into KINDS, the kinds of `connect-failed`. TRIED_LATE stands for kind tried-next with severity warning, PORT_CHECK for
kind down with severity note.
"""

_LOCALHOST = "localhost"
_PLACE = ["port", "ipv6", "loopback"]
_PAIR = ["client_key", "server"]


def one_host(endpoint: str) -> pl.Expr:
    """Replace 127.0.0.1 and ::1 in an address or endpoint by one common name, because both are the local host."""
    return c(endpoint).str.replace(r"^(127\.0\.0\.1|\[::1\]|::1$)", _LOCALHOST)


def host_of(endpoint: str) -> pl.Expr:
    """Return an expression for the host in "address", "host:port" or "[address]:port"."""
    return c(endpoint).str.replace(r"^\[([^\]]*)\](?::\d+)?$|^([^:]*):\d+$", "${1}${2}")


def _on_loopback() -> pl.Expr:
    return one_host("server").str.starts_with(_LOCALHOST)


def _place_columns() -> list[pl.Expr]:
    """Return the columns of _PLACE for each connection: the port of its server, and whether it uses IPv6 and loopback.

    Two addresses can belong to one server only if `port` and `loopback` are equal.
    """
    port = c("server").str.extract(r":(\d+)$").cast(pl.UInt32)
    return [port.alias("port"), c("server").str.starts_with("[").alias("ipv6"), _on_loopback().alias("loopback")]


def client_key() -> pl.Expr:
    """Return the column `client_key`: a hash of the client's address, which takes less memory than the address."""
    return c("client_host").hash().alias("client_key")


def accepted_near(rows: pl.DataFrame, connections: pl.LazyFrame, **marks: pl.Expr) -> pl.DataFrame:
    """Return the connections accepted by servers that may be those of the attempts in `rows`.

    Such a server has the same address and port as one in `rows` (127.0.0.1 and ::1 count as equal), or the same port and the
    other IP version. `frame`, `time` (ns): the SYN-ACK or, if the capture lacks it, the first packet. `open_before`: the
    connection was open when the capture began. `either`: the server's endpoint as in `one_host`. `marks`: additional columns.
    """
    without_syn = c("syns") == 0
    answered = c("first_answer_frame").is_not_null() | (without_syn & c("history").str.starts_with("h"))
    open_before = without_syn & ~answered & (c("client_bytes") + c("server_bytes") > 0)
    keys = [one_host("server").alias("either"), *_place_columns()]
    servers = connections.filter(answered | without_syn).select("server").unique().collect(engine="streaming").with_columns(keys)
    asked = rows.select("server").unique().with_columns(keys)
    same = [servers.join(asked, on="either", how="semi"), servers.join(_other_version(asked), on=["port", "ipv6"], how="semi")]
    near = pl.concat(same).unique()
    some = connections.filter((answered | open_before) & c("server").is_in(near["server"].implode()))
    found = (some if near.height else connections.clear()).select(
        *("connection", "server", "syns", "syn_time", "first_answer_frame", "first_answer_time", "answer_ttl", "syn_ecn_or_data"),
        client_key(),
        pl.coalesce("first_answer_frame", "first_frame").alias("frame"),
        pl.coalesce("first_answer_time", "start").alias("time"),
        open_before.alias("open_before"),
        **marks,
    )
    return found.collect(engine="streaming").join(near, on="server", how="left")


def _other_version(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(~c("ipv6"))


def other_refusals(refused: pl.DataFrame, within: int) -> pl.DataFrame:
    """Return two rows for each client that tried 127.0.0.1 and ::1 within `within` ns and was refused by both.

    `superseded`: True for the first attempt of the pair; only the second counts. `other_frame`, `other_time`: the RST of the
    first attempt, in the row of the second. `within` must be shorter than the pause before a client retries.
    """
    pair = ("client", "server_key")
    gap = c("gap")
    return (
        refused.filter(_on_loopback())
        .select(
            *("connection", "server", "over", "answer_frame"),
            *(one_host(end).alias(name) for name, end in zip(pair, ("client_host", "server"), strict=True)),
        )
        .sort("over", "connection")
        .with_columns((c("over").shift(-1) - c("over")).over(pair).alias("gap"), c("server").shift(-1).over(pair).alias("next"))
        .with_columns(pl.when((gap <= within) & (c("server") != c("next"))).then(gap).alias("gap"))
        .with_columns(
            (gap <= gap.shift(1)).over(pair).fill_null(value=True).alias("nearer_than_before"),
            (gap < gap.shift(-1)).over(pair).fill_null(value=True).alias("nearer_than_after"),
        )
        .with_columns((gap.is_not_null() & c("nearer_than_before") & c("nearer_than_after")).alias("superseded"))
        .with_columns(
            pl.when(c("superseded").shift(1)).then(c(of).shift(1)).over(pair).alias(name)
            for name, of in (("other_frame", "answer_frame"), ("other_time", "over"))
        )
        .select("connection", "superseded", "other_frame", "other_time")
        .filter(c("superseded") | c("other_frame").is_not_null())
    )


def next_addresses(failed: pl.DataFrame, accepted: pl.DataFrame, within: int) -> pl.DataFrame:
    """Return a row for each attempt whose client soon got an answer on the same port from an address of the other IP version.

    "Soon" means that the answer came during the attempt or up to `within` ns after it. An answer that took more than `within` ns
    (a SYN was lost, or the server is far away) also counts if its SYN was sent during that time. Columns: `next_server`,
    `next_syn_time`, and `next_frame` and `next_time` (ns) of the SYN-ACK. On the loopback interface, two addresses certainly
    belong to one host. Elsewhere that is assumed only if, during this time, all answers on that port in that IP version were from
    one server to one client. If the attempt failed because there is no route to the network (`no_network`), several servers may
    have answered this client.
    """
    asked = _other_version(
        failed.select(
            *("connection", "client_host", "syn_time", "no_network"), (c("over") + within).alias("until"), *_place_columns()
        )
    )
    slow = c("first_answer_time") - c("syn_time") > within
    answered = (
        accepted.filter(c("first_answer_frame").is_not_null())
        .join(asked, on=_PLACE, how="semi")
        .select(
            *_PLACE,
            c("client_key").alias("asker"),
            pl.struct("client_key", "either").alias("pair"),
            c("server").alias("next_server"),
            c("syn_time").alias("next_syn_time"),
            c("first_answer_frame").alias("next_frame"),
            c("first_answer_time").alias("next_time"),
            pl.when(slow).then("syn_time").otherwise("first_answer_time").alias("tried_time"),
        )
        .sort("tried_time")
        .with_columns(_run("pair").alias("run"), _run("asker").alias("asker_run"))
    )
    last = answered.select(
        *_PLACE, c("tried_time").alias("last_time"), c("run").alias("last_run"), c("asker_run").alias("last_asker_run")
    )
    same = (c("run") == c("last_run")) | (c("no_network") & (c("asker_run") == c("last_asker_run")))
    return (
        asked.join(answered, on=_PLACE, how="semi")
        .sort("syn_time")
        .join_asof(answered, left_on="syn_time", right_on="tried_time", by=_PLACE, strategy="forward", check_sortedness=False)
        .filter(c("tried_time") <= c("until"))
        .sort("until")
        .join_asof(last, left_on="until", right_on="last_time", by=_PLACE, check_sortedness=False)
        .filter(same & (one_host("client_host").n_unique().over("next_frame") == 1))
        .select("connection", "next_server", "next_syn_time", "next_frame", "next_time")
    )


def answered_elsewhere(unanswered: pl.DataFrame, connections: pl.LazyFrame, within: int) -> pl.DataFrame:
    """Return a row for each attempt whose SYN another address answered: a SYN-ACK came to the client's address and port.

    The client sent nothing to that address, except perhaps an RST (RFC 9293 section 3.10.7.3). The SYN-ACK came during the
    attempt or up to `within` ns after it. Columns: `stray_server`, and `stray_frame` and `stray_time` (ns) of the first such
    SYN-ACK.

    Client ports from which several attempts were made do not count: a scanner uses one port for all addresses, and the SYN to
    that address may be missing from the capture.
    """
    stray = connections.filter((c("syns") == 0) & c("history").str.contains("^h[Rt]*$")).select(
        "client", c("server").alias("stray_server"), c("first_frame").alias("stray_frame"), c("start").alias("stray_time")
    )
    asked = unanswered.lazy().select("connection", "client", "syn_time", "last_syn_time")
    rows = asked.join(stray, on="client").collect(engine="streaming")
    until = pl.max_horizontal("syn_time", "last_syn_time") + within
    alone = c("connection").n_unique().over("client") == 1
    due = rows.filter(alone & c("stray_time").is_between("syn_time", until))
    first = due.sort("stray_frame").unique("connection", keep="first")
    return first.select("connection", "stray_server", "stray_frame", "stray_time")


def same_ports(unanswered: pl.DataFrame, connections: pl.LazyFrame, accepted: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each attempt with facts that show whether the server, the path or the ports are the reason.

    `older_frame`, `older_time` (ns): the last packet of the newest earlier connection between the same endpoints, if it was
    established and not closed by both sides. `port_alone`: the server accepted other connections before and after the attempt,
    and all unanswered attempts at that server have such an earlier connection. `between_frame`, `between_time` (ns): the server
    accepts another connection between the SYNs of the attempt.
    """
    asked = unanswered.select("connection", "client", "server", "syn_time", "last_syn_time")
    closed = c("history").str.contains("[Rr]") | (c("history").str.contains("F") & c("history").str.contains("f"))
    open_ones = connections.filter(c("connected") & ~closed & c("client").is_in(asked["client"].unique().implode())).select(
        *("client", "server", c("connection").alias("older"), c("start").alias("since")),
        *(c("last_frame").alias("older_frame"), c("end").alias("older_time")),
    )
    pairs = open_ones.join(asked.lazy(), on=["client", "server"]).filter(c("since") < c("syn_time")).collect(engine="streaming")
    older = pairs.sort("since").unique("connection", keep="last").select("connection", "older", "older_frame", "older_time")
    others = accepted.filter(c("first_answer_frame").is_not_null() & ~c("connection").is_in(older["older"].implode())).select(
        "server", c("frame").alias("between_frame"), c("time").alias("between_time")
    )
    known = asked.join(older, on="connection", how="left").sort("syn_time").join_asof(
        others.sort("between_time"), left_on="syn_time", right_on="between_time", by="server", strategy="forward",
        check_sortedness=False,
    )  # fmt: skip
    spans = others.group_by("server").agg(c("between_time").min().alias("first"), c("between_time").max().alias("last"))
    around = (c("first") < c("syn_time")) & (c("last") > c("last_syn_time"))
    alone = around & c("older_frame").is_not_null().all().over("server")
    between = c("between_time") < c("last_syn_time")
    return known.join(spans, on="server", how="left").select(
        *("connection", "older_frame", "older_time", alone.fill_null(value=False).alias("port_alone")),
        *(pl.when(between).then(name).alias(name) for name in ("between_frame", "between_time")),
    )


def differ_in_flags(failed: pl.DataFrame, accepted: pl.DataFrame, *, least: int, accepts: int) -> pl.DataFrame:
    """Return a row for each server that accepted no SYN with ECN or data, and at which only such SYNs failed.

    At least `least` of them failed, and the server accepted at least `accepts` others. `plain_frame`, `plain_time` (ns): the
    first SYN-ACK. `other_clients`: none of the clients that failed was accepted.
    """
    answered = accepted.filter(c("first_answer_frame").is_not_null() & (c("syns") > 0))
    without = answered.group_by("server").agg(
        *(c(name).sort_by("time").first().alias(f"plain_{name}") for name in ("frame", "time")),
        (~c("syn_ecn_or_data")).all().alias("plain"),
        pl.len().alias("accepted"),
        c("client_key").unique().alias("clients"),
    )
    with_flags = failed.group_by("server").agg(
        c("syn_ecn_or_data").all().alias("asks"), pl.len().alias("failed"), c("client_key").unique().alias("asked")
    )
    enough = c("asks") & c("plain") & (c("failed") >= least) & (c("accepted") >= accepts)
    others = c("clients").list.set_intersection("asked").list.len() == 0
    return (
        with_flags.join(without, on="server")
        .filter(enough)
        .select("server", "plain_frame", "plain_time", others.alias("other_clients"))
    )


def _run(column: str) -> pl.Expr:
    """Number the runs of equal values: the number rises by 1 if the value of `column` differs from that in the previous row.

    Rows with different values in _PLACE are numbered separately.
    """
    return (c(column) != c(column).shift(1)).over(_PLACE).fill_null(value=True).cum_sum().over(_PLACE)


def resets_of_others(
    refused: pl.DataFrame, accepted: pl.DataFrame, *, least: int, times: int, number: int
) -> pl.DataFrame:  # fmt: skip
    """Return a row for each refused attempt, with facts which show that the server did not send the RST, or null.

    `answered_in`, `round_trip`: the RST came too early, so a device nearer to the client sent it. `answered_in` is the time from
    the last SYN to the RST (ns). `round_trip` is the shortest time from a SYN of this client to a SYN-ACK of this server (ns), in
    at least `number` connections. It is at least `least` ns, and at least `times` as long as `answered_in`.

    `reset_ttl`, `accepted_ttl`: the RST has another time to live than the server's SYN-ACKs to that client, so the host that
    accepts connections did not send it. `accepted_ttl` is the same in at least `number` connections.
    """
    single = c("syns") == 1
    trip, ttl = c("first_answer_time") - c("syn_time"), c("answer_ttl")
    answers = (
        accepted.filter(c("first_answer_frame").is_not_null())
        .join(refused, on=_PAIR, how="semi")
        .group_by(_PAIR)
        .agg(
            pl.when(single.sum() >= number).then(trip.filter(single).min()).alias("round_trip"),
            pl.when((pl.len() >= number) & (ttl.min() == ttl.max())).then(ttl.min()).alias("accepted_ttl"),
        )
    )
    asked = refused.select(
        *("connection", *_PAIR), (c("refused_time") - c("last_syn_time")).alias("answered_in"), c("answer_ttl").alias("reset_ttl")
    )
    nearer = (c("round_trip") >= least) & (c("answered_in") * times <= c("round_trip"))
    others = c("reset_ttl") != c("accepted_ttl")
    return asked.join(answers, on=_PAIR).select(
        "connection",
        *(pl.when(nearer).then(name).alias(name) for name in ("answered_in", "round_trip")),
        *(pl.when(others).then(name).alias(name) for name in ("reset_ttl", "accepted_ttl")),
    )


def given_up_in_a_row(given_up: pl.DataFrame, accepted: pl.DataFrame, least: int) -> pl.Series:
    """Return the ids of those attempts in `given_up` that are at least `least` in a row from one client to the same server.

    "In a row" means that the server accepted no other connection of the client from the first to the last of these attempts.

    An attempt does not count if an address of the other IP version accepted a connection on that port meanwhile: many clients
    try both versions, and drop the slower attempt (RFC 8305 section 5). In `accepted`, the column `given_up` marks the attempts.
    """
    if given_up.is_empty():
        return given_up["connection"]
    place = ["port", "ipv6"]
    winners = accepted.filter(c("first_answer_frame").is_not_null() & ~c("given_up"))
    # the capture point may be nearer to the winner, so the winner's answer may pass up to a round trip before this SYN
    since = c("syn_time") - (c("end") - c("syn_time"))
    asked = given_up.select("connection", *_PAIR, "syn_time", "end", since.alias("since"), *_place_columns()[:2])
    rows = (
        _other_version(asked)
        .sort("since")
        .join_asof(
            winners.select(*place, c("first_answer_time").alias("won")).sort("won"),
            left_on="since",
            right_on="won",
            by=place,
            strategy="forward",
            check_sortedness=False,
        )
        .filter(c("won").is_null() | (c("won") > c("end")))
    )
    runs = (
        rows.group_by(_PAIR)
        .agg(c("syn_time").min().alias("first"), c("end").max().alias("last"), pl.len().alias("number"))
        .filter(c("number") >= least)
    )
    return in_vain(rows.select("connection", *_PAIR).join(runs, on=_PAIR), winners)


def single_syns_in_a_row(
    connections: pl.LazyFrame, single: pl.Expr, *, least: int, apart: int, most: int, most_servers: int
) -> pl.DataFrame:
    """Return the attempts that `single` selects, if the client made at least `least` of them to one server. See `in_vain`.

    Attempts that are on average less than `apart` ns apart do not count, because they are a flood. If a client made such attempts
    at more than `most_servers` addresses and ports, they do not count either, because the client is looking for open ports. If
    `single` selects more than `most` attempts, the result is empty.
    """
    some = connections.filter(single).select("connection", "syn_time", client_key(), "server").head(most + 1)
    found = some.collect(engine="streaming")
    runs = (
        found.filter(pl.len() <= most)
        .group_by(_PAIR)
        .agg(c("syn_time").min().alias("first"), c("syn_time").max().alias("last"), number=pl.len())
        .filter((c("number") >= least) & (c("last") - c("first") >= (c("number") - 1) * apart))
        .filter(pl.len().over("client_key") <= most_servers)
    )
    return found.drop("syn_time").join(runs, on=_PAIR)


def in_vain(attempts: pl.DataFrame, accepted: pl.DataFrame) -> pl.Series:
    """Return the ids of those attempts of a client between which the server accepted no connection of it.

    `first`, `last`: the times (ns) of the first and last attempt of the client at that server.
    """
    if attempts.is_empty():
        return attempts["connection"]
    runs = attempts.select(*_PAIR, "first", "last").unique()
    between = accepted.join(runs, on=_PAIR).filter(c("first_answer_time").is_between("first", "last"))
    return attempts.join(between, on=_PAIR, how="anti")["connection"]


def acceptances(refused: pl.DataFrame, accepted: pl.DataFrame, within: int) -> pl.DataFrame:
    """Return a row for each refused attempt if the server accepted a connection of any client before or after it.

    `before_frame`, `before_time`: the first connection that the server accepted; null if the server accepted none before the
    attempt.
    `accepted_frame`, `accepted_time`: the first connection that the server accepted after the attempt; null if there is none.
    `down_since`: when the first of the refused attempts with the same `accepted_frame` failed (ns). If a client tried both
    addresses of a host (`other_frame`), connections to both count. A SYN-ACK counts even if the capture lacks the SYN. A
    connection that was open when the capture began counts as accepted before the attempt.
    `busy`: True if the server accepted a connection between two refusals less than `within` ns apart, and the attempt is one of
    these refusals. It is also True for the other attempts that failed between the same accepted connections as such a refusal.
    """
    places = refused.select(
        *("connection", "syn_time", "over", "number"),
        pl.when(c("other_frame").is_null()).then("server").otherwise(one_host("server")).alias("place"),
    )
    at_one = accepted.select(c("server").alias("place"), "either", "frame", "time", "open_before")
    at_either = at_one.filter(c("place") != c("either")).with_columns(c("either").alias("place"))
    known = pl.concat([at_one, at_either]).join(places, on="place", how="semi").sort("time")
    first = known.group_by("place").agg(
        c("frame").sort_by("time").first().alias("before_frame"), c("time").min().alias("before_time")
    )
    later = known.filter(~c("open_before")).select("place", c("frame").alias("accepted_frame"), c("time").alias("accepted_time"))
    before = c("before_time") < c("syn_time")
    found = (
        places.join(first, on="place")
        .with_columns(pl.when(before).then(name).alias(name) for name in ("before_time", "before_frame"))
        .sort("over")
        .join_asof(later, left_on="over", right_on="accepted_time", by="place", strategy="forward", check_sortedness=False)
        .with_columns(c("over").min().over("place", "accepted_frame").alias("down_since"))
    )
    busy = _busy(found.filter(c("number") == REFUSED), within)
    return found.join(busy, on=["place", "accepted_frame"], how="left").select(
        *("connection", "before_frame", "before_time", "accepted_frame", "accepted_time", "down_since"),
        c("busy").fill_null(value=False),
    )


def _busy(refused: pl.DataFrame, within: int) -> pl.DataFrame:
    """Return `place` and `accepted_frame` of successive refusals, less than `within` ns apart, that differ in `accepted_frame`.

    `busy` is True in all rows.
    """
    rows = refused.sort("over", "connection")

    def after(name: str) -> pl.Expr:
        return c(name).shift(-1).over("place")

    near = (after("over") - c("over") < within) & (c("accepted_frame") != after("accepted_frame")).fill_null(value=True)
    pairs = rows.with_columns(after("accepted_frame").alias("next"), near.alias("near")).filter("near")
    both = pl.concat([pairs.select("place", "accepted_frame"), pairs.select("place", c("next").alias("accepted_frame"))])
    return both.drop_nulls().unique().with_columns(pl.lit(value=True).alias("busy"))


def tried_again(
    connections: pl.LazyFrame, in_vain: pl.Expr, short: pl.DataFrame, *, within: int, alone: int, together: int
) -> pl.Series:  # fmt: skip
    """Return the ids of unanswered attempts that directly precede or follow another unanswered attempt between the same hosts.

    `in_vain`: whether an attempt had no answer. `short`: the attempts that had too few SYNs to count by themselves; only their
    pairs of client and server are examined. The second attempt must have begun after the last SYN of the first, at most `within`
    ns later. The time from the first SYN of the first attempt to the last SYN of the second, plus `alone`, must be at least
    `together` (all in ns).
    """
    if short.is_empty():
        return short["connection"]
    tried = (
        connections.filter((c("syns") > 0) & c("server").is_in(short["server"].unique().implode()))
        .select("connection", client_key(), "server", "syn_time", "last_syn_time", in_vain.alias("in_vain"))
        .join(short.lazy().select(_PAIR).unique(), on=_PAIR, how="semi")
        .collect(engine="streaming")
        .sort("syn_time", "connection")
    )

    def previous(name: str) -> pl.Expr:
        return c(name).shift().over(_PAIR)

    since_last = c("syn_time") - previous("last_syn_time")
    late = c("last_syn_time") + alone - previous("syn_time") >= together
    second = c("in_vain") & previous("in_vain") & since_last.is_between(1, within) & late
    both = tried.with_columns(second.fill_null(value=False).alias("second"))
    again = c("second") | c("second").shift(-1).over(_PAIR).fill_null(value=False)
    return both.filter(again)["connection"]


def traced(expired: pl.DataFrame, accepted: pl.DataFrame, within: int) -> pl.Series:
    """Return the ids of attempts that did not fail but measure the path, as traceroute does with SYNs of a low TTL.

    `expired`: the attempts of which a router reported that the TTL of the SYN was used up. Such an attempt counts if the server
    answered another SYN of the client at most `within` ns before or after it, or if two or more routers sent such reports.
    """
    if expired.is_empty():
        return expired["connection"]
    rows = expired.select("connection", *_PAIR, host_of("server").alias("server_host"), "syn_time", "router")
    rows = rows.sort("syn_time", "connection")
    routers = c("router").n_unique().over("client_key", "server_host")
    answers = accepted.select(*_PAIR, c("first_answer_time").alias("answered_time")).drop_nulls().sort("answered_time")
    near = rows.join_asof(
        answers, left_on="syn_time", right_on="answered_time", by=_PAIR, strategy="nearest", tolerance=within,
        check_sortedness=False,
    )  # fmt: skip
    return near.filter((routers > 1) | c("answered_time").is_not_null())["connection"]
