"""Find out what came before and after a connection attempt: another address answered, the server accepted later, or the client
tried again in vain. Also distinguish failed attempts from attempts that only probe the path.

Failed attempts are rows with `connection`, `client_host`, `server`, `syn_time` and `over`: the time (ns) when the client learned
of the failure, or sent its last SYN. There may be a million of them. Only a few share a port with an accepted connection; these
are selected first.
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


def one_host(endpoint: str) -> pl.Expr:
    """Replace 127.0.0.1 and ::1 in an address or endpoint by one common name, because both are the local host."""
    return c(endpoint).str.replace(r"^(127\.0\.0\.1|\[::1\]|::1$)", _LOCALHOST)


def host_of(endpoint: str) -> pl.Expr:
    """Return the address of an endpoint without its port."""
    return c(endpoint).str.replace(r":\d+$", "").str.strip_chars("[]")


def _on_loopback() -> pl.Expr:
    return one_host("server").str.starts_with(_LOCALHOST)


def _place_columns() -> list[pl.Expr]:
    """Return the columns of _PLACE for each connection: the port of its server, and whether it uses IPv6 and loopback.

    Two addresses can belong to one server only if `port` and `loopback` are equal.
    """
    port = c("server").str.extract(r":(\d+)$").cast(pl.UInt32)
    return [port.alias("port"), c("server").str.starts_with("[").alias("ipv6"), _on_loopback().alias("loopback")]


def other_refusals(refused: pl.LazyFrame, within: int) -> pl.LazyFrame:
    """Return two rows for each client that tried 127.0.0.1 and ::1 within `within` ns and was refused by both.

    `superseded`: True for the first attempt of the pair; only the second counts. `other_frame`, `other_time`: the RST of the
    first attempt, in the row of the second. `within` must be shorter than the pause before a client retries.
    """
    pair = ("client_key", "server_key")
    gap = c("gap")
    return (
        refused.filter(_on_loopback())
        .select("connection", "server", "over", "answer_frame", _key("client_host", "client_key"), _key("server", "server_key"))
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


def _key(of: str, name: str) -> pl.Expr:
    return one_host(of).hash().alias(name)


def next_addresses(failed: pl.LazyFrame, connections: pl.LazyFrame, within: int) -> pl.LazyFrame:
    """Return a row for each attempt whose client soon got an answer on the same port from an address of the other IP version.

    "Soon" means that the answer came during the attempt or up to `within` ns after it. An answer that took more than `within` ns
    (a SYN was lost, or the server is far away) also counts if its SYN was sent during that time. Columns: `next_server`,
    `next_syn_time`, and `next_frame` and `next_time` (ns) of the SYN-ACK. On the loopback interface, two addresses certainly
    belong to one host. Elsewhere that is assumed only if, during this time, all answers on that port in that IP version were from
    one server to one client. If the attempt failed because there is no route to the network (`no_network`), several servers may
    have answered this client.
    """
    ports = failed.select(_place_columns()[0]).unique()
    slow = c("first_answer_time") - c("syn_time") > within
    answered = (
        connections.filter(c("first_answer_frame").is_not_null())
        .select(
            *_place_columns(),
            one_host("client_host").hash().alias("asker"),
            pl.concat_str(one_host("client_host"), pl.lit(" "), one_host("server")).hash().alias("pair"),
            c("server").alias("next_server"),
            c("syn_time").alias("next_syn_time"),
            c("first_answer_frame").alias("next_frame"),
            c("first_answer_time").alias("next_time"),
            pl.when(slow).then("syn_time").otherwise("first_answer_time").alias("tried_time"),
        )
        .join(ports, on="port", how="semi")
        .sort("tried_time")
        .with_columns(_run("pair").alias("run"), _run("asker").alias("asker_run"))
    )
    last = answered.select(
        *_PLACE, c("tried_time").alias("last_time"), c("run").alias("last_run"), c("asker_run").alias("last_asker_run")
    )
    asked = failed.select(
        "connection", "client_host", "syn_time", "no_network", (c("over") + within).alias("until"), *_place_columns()
    )
    same = (c("run") == c("last_run")) | (c("no_network") & (c("asker_run") == c("last_asker_run")))
    return (
        asked.with_columns(~c("ipv6"))
        .join(answered.select(_PLACE).unique(), on=_PLACE, how="semi")
        .sort("syn_time")
        .join_asof(answered, left_on="syn_time", right_on="tried_time", by=_PLACE, strategy="forward", check_sortedness=False)
        .filter(c("tried_time") <= c("until"))
        .sort("until")
        .join_asof(last, left_on="until", right_on="last_time", by=_PLACE, check_sortedness=False)
        .filter(same & (one_host("client_host").n_unique().over("next_frame") == 1))
        .select("connection", "next_server", "next_syn_time", "next_frame", "next_time")
    )


def answered_elsewhere(unanswered: pl.LazyFrame, connections: pl.LazyFrame, within: int) -> pl.LazyFrame:
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
    rows = unanswered.select("connection", "client", "syn_time", "last_syn_time").join(stray, on="client")
    until = pl.max_horizontal("syn_time", "last_syn_time") + within
    alone = c("connection").n_unique().over("client") == 1
    due = rows.filter(alone & c("stray_time").is_between("syn_time", until))
    first = due.sort("stray_frame").unique("connection", keep="first")
    return first.select("connection", "stray_server", "stray_frame", "stray_time")


def _run(column: str) -> pl.Expr:
    """Number the runs of equal values: the number rises by 1 if the value of `column` differs from that in the previous row.

    Rows with different values in _PLACE are numbered separately.
    """
    return (c(column) != c(column).shift(1)).over(_PLACE).fill_null(value=True).cum_sum().over(_PLACE)


def nearer_resets(
    connections: pl.LazyFrame, refused: pl.Expr, *, least: int, times: int, accepted: int
) -> pl.LazyFrame:  # fmt: skip
    """Return a row for each refused attempt whose RST came too early for the server: a device nearer to the client sent the RST.

    `refused`: selects the refused attempts. `answered_in`: the time from the last SYN to the RST (ns). `round_trip`: the shortest
    time from a SYN of this client to a SYN-ACK of this server (ns), in at least `accepted` connections. It is at least `least`
    ns, and at least `times` as long as `answered_in`.
    """
    pair = (c("client_host").hash() ^ c("server").hash(1)).alias("pair")
    reset = connections.filter(refused).select("connection", pair, (c("refused_time") - c("last_syn_time")).alias("answered_in"))
    took = c("first_answer_time") - c("syn_time")
    answered = (
        connections.filter((c("syns") == 1) & c("first_answer_frame").is_not_null())
        .select(pair, took.alias("round_trip"))
        .join(reset.select("pair").unique(), on="pair", how="semi")
        .group_by("pair")
        .agg(c("round_trip").min(), pl.len().alias("number"))
        .filter((c("number") >= accepted) & (c("round_trip") >= least))
    )
    return (
        reset.join(answered, on="pair")
        .filter(c("answered_in") * times <= c("round_trip"))
        .select("connection", "answered_in", "round_trip")
    )


def resets_of_others(connections: pl.LazyFrame, refused: pl.Expr, accepted: int) -> pl.LazyFrame:
    """Return a row for each refused attempt whose RST has another time to live than the server's SYN-ACKs to that client.

    So the host that accepts connections did not send the RST. `reset_ttl`: the time to live of the RST. `accepted_ttl`: the time
    to live of the SYN-ACKs, which is the same in at least `accepted` connections.
    """
    pair = (c("client_host").hash() ^ c("server").hash(1)).alias("pair")
    reset = connections.filter(refused).select("connection", pair, c("answer_ttl").alias("reset_ttl"))
    answered = (
        connections.filter(c("first_answer_frame").is_not_null())
        .select(pair, "answer_ttl")
        .join(reset.select("pair").unique(), on="pair", how="semi")
        .group_by("pair")
        .agg(c("answer_ttl").min().alias("accepted_ttl"), c("answer_ttl").max().alias("highest"), pl.len().alias("number"))
        .filter((c("number") >= accepted) & (c("accepted_ttl") == c("highest")))
    )
    others = reset.join(answered, on="pair").filter(c("reset_ttl") != c("accepted_ttl"))
    return others.select("connection", "reset_ttl", "accepted_ttl")


def given_up_in_a_row(connections: pl.LazyFrame, given_up: pl.Expr, least: int) -> pl.LazyFrame:
    """Return the attempts that `given_up` selects, if the client made at least `least` of them in a row to the same server.

    "In a row" means that the server accepted no other connection of the client from the first to the last of these attempts.

    An attempt does not count if an address of the other IP version accepted a connection on that port meanwhile: many clients
    try both versions, and drop the slower attempt (RFC 8305 section 5).
    """
    pair = (c("client_host").hash() ^ c("server").hash(1)).alias("pair")
    port, ipv6, _ = _place_columns()
    winners = connections.filter(c("first_answer_frame").is_not_null() & ~given_up).select(
        port, ~ipv6, c("first_answer_time").alias("won")
    )
    # the capture point may be nearer to the winner, so the winner's answer may pass up to a round trip before this SYN
    since = c("syn_time") - (c("end") - c("syn_time"))
    rows = (
        connections.filter(given_up)
        .select("connection", pair, "syn_time", "end", port, ipv6, since.alias("since"))
        .sort("since")
        .join_asof(
            winners.sort("won"),
            left_on="since",
            right_on="won",
            by=["port", "ipv6"],
            strategy="forward",
            check_sortedness=False,
        )
        .filter(c("won").is_null() | (c("won") > c("end")))
    )
    runs = (
        rows.group_by("pair")
        .agg(c("syn_time").min().alias("first"), c("end").max().alias("last"), pl.len().alias("number"))
        .filter(c("number") >= least)
    )
    others = connections.filter(c("first_answer_frame").is_not_null() & ~given_up).select(pair, "first_answer_time")
    between = others.join(runs, on="pair").filter(c("first_answer_time").is_between("first", "last"))
    in_a_row = runs.join(between, on="pair", how="anti")
    return rows.join(in_a_row, on="pair", how="semi").select("connection", in_a_row=pl.lit(value=True))


def single_syns_in_a_row(
    connections: pl.LazyFrame, single: pl.Expr, *, least: int, apart: int, most: int, most_servers: int
) -> pl.LazyFrame:
    """Return the ids of the attempts that `single` selects, if the client made at least `least` of them in a row to one server.

    "In a row" means that the server accepted no other connection of the client from the first to the last of these attempts.

    Attempts that are on average less than `apart` ns apart do not count, because they are a flood. If a client made such attempts
    at more than `most_servers` addresses and ports, they do not count either, because the client is looking for open ports. If
    `single` selects more than `most` attempts, the result is empty.
    """
    client = c("client_host").hash()
    pair = (client ^ c("server").hash(1)).alias("pair")
    some = connections.filter(single).select("connection", "syn_time", client.alias("by"), pair).head(most + 1)
    some = some.filter(pl.len() <= most)
    runs = (
        some.group_by("pair")
        .agg(c("by").first(), c("syn_time").min().alias("first"), c("syn_time").max().alias("last"), number=pl.len())
        .filter((c("number") >= least) & (c("last") - c("first") >= (c("number") - 1) * apart))
        .filter(pl.len().over("by") <= most_servers)
    )
    others = connections.filter(c("first_answer_frame").is_not_null()).select(pair, "first_answer_time")
    between = others.join(runs, on="pair").filter(c("first_answer_time").is_between("first", "last"))
    in_vain = runs.join(between, on="pair", how="anti")
    return some.join(in_vain, on="pair", how="semi").select("connection")


def acceptances(refused: pl.LazyFrame, connections: pl.LazyFrame, within: int) -> pl.LazyFrame:
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
    own, either = c("server").hash(), one_host("server").hash()
    places = refused.select(
        *("connection", "syn_time", "over", "number"),
        pl.when(c("other_frame").is_null()).then(own).otherwise(either).alias("place"),
    )
    without_syn = c("syns") == 0
    answered = c("first_answer_frame").is_not_null() | (without_syn & c("history").str.starts_with("h"))
    open_before = without_syn & ~answered & (c("client_bytes") + c("server_bytes") > 0)
    accepted = connections.filter(answered | open_before).select(
        own.alias("place"),
        either.alias("either"),
        pl.coalesce("first_answer_frame", "first_frame").alias("frame"),
        pl.coalesce("first_answer_time", "start").alias("time"),
        open_before.alias("open_before"),
    )
    at_either = accepted.filter(c("place") != c("either")).with_columns(c("either").alias("place"))
    known = pl.concat([accepted, at_either]).join(places.select("place").unique(), on="place", how="semi").sort("time")
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
        .cache()
    )
    busy = _busy(found.filter(c("number") == REFUSED), within)
    return found.join(busy, on=["place", "accepted_frame"], how="left").select(
        *("connection", "before_frame", "before_time", "accepted_frame", "accepted_time", "down_since"),
        c("busy").fill_null(value=False),
    )


def _busy(refused: pl.LazyFrame, within: int) -> pl.LazyFrame:
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
    connections: pl.LazyFrame, in_vain: pl.Expr, short: pl.Expr, *, within: int, alone: int, together: int
) -> pl.LazyFrame:  # fmt: skip
    """Return the ids of unanswered attempts that directly precede or follow another unanswered attempt between the same hosts.

    The column `again` is True in all rows. `in_vain`: whether an attempt had no answer. `short`: whether an attempt had too few
    SYNs to count by itself; only pairs of client and server with such an attempt are examined. The second attempt must have begun
    after the last SYN of the first, at most `within` ns later. The time from the first SYN of the first attempt to the last SYN
    of the second, plus `alone`, must be at least `together` (all in ns).
    """
    pair = ["client_host", "server"]
    asked = connections.filter(short).select(pair).unique()
    tried = (
        connections.filter(c("syns") > 0)
        .join(asked, on=pair, how="semi")
        .select("connection", *pair, "syn_time", "last_syn_time", in_vain.alias("in_vain"))
        .sort("syn_time", "connection")
    )

    def previous(name: str) -> pl.Expr:
        return c(name).shift().over(pair)

    since_last = c("syn_time") - previous("last_syn_time")
    late = c("last_syn_time") + alone - previous("syn_time") >= together
    second = c("in_vain") & previous("in_vain") & since_last.is_between(1, within) & late
    both = tried.with_columns(second.fill_null(value=False).alias("second"))
    again = c("second") | c("second").shift(-1).over(pair).fill_null(value=False)
    return both.filter(again).select("connection", pl.lit(value=True).alias("again"))


def traced(connections: pl.LazyFrame, time_exceeded: pl.Expr, within: int) -> pl.LazyFrame:
    """Return the ids of attempts that did not fail but measure the path, as traceroute does with SYNs of a low TTL.

    `time_exceeded`: whether a router reported that the TTL of the SYN was used up. Such an attempt counts if the server answered
    another SYN of the client at most `within` ns before or after it, or if two or more routers sent such reports.
    """
    place = ["client_host", "server"]
    host = host_of("server").alias("server_host")
    expired = connections.filter(time_exceeded.fill_null(value=False))
    expired = expired.select("connection", *place, host, "syn_time", "syn_error_router").sort("syn_time", "connection").cache()
    routers = c("syn_error_router").n_unique().over("client_host", "server_host")
    answers = connections.filter(c("first_answer_time").is_not_null()).join(expired, on=place, how="semi")
    answers = answers.select(*place, c("first_answer_time").alias("answered_time")).sort("answered_time")
    reached = expired.join_asof(
        answers, left_on="syn_time", right_on="answered_time", by=place, strategy="nearest", tolerance=within,
        check_sortedness=False,
    ).filter(c("answered_time").is_not_null())  # fmt: skip
    return pl.concat([expired.filter(routers > 1).select("connection"), reached.select("connection")])
