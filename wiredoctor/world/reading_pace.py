"""Find clients that close their window because they read at their own pace: a rate limit, or a player with a full buffer.

Some of these programs always sleep for the same time (wget, players, loops with a pause), so their window opens at regular
intervals. Others sleep until the amount that they have read fits their rate (curl); then the amount between two openings is
proportional to the time between them. The amount alone is weaker evidence, because the kernel opens a window early or late. The
pauses of players (ffplay) vary, and so do the pauses of a slow disk. Therefore players are recognized by what they read, or by
their User-Agent. A download program that limits its rate may close its window only once or twice, on a short path. Such a program
is recognized by its User-Agent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.tables import MILLISECOND, SECOND, of_connections
from wiredoctor.world.attempts import host_of
from wiredoctor.world.world import CaptureTables, Index

c = pl.col

OWN_PACE = Threshold(
    "60 s",
    "the maximum pause for kind own-pace; a player that reads 2 MB of 256 kbit/s audio at a time pauses for this long, "
    "and a longer pause may be a fault",
)

_PERIODS, _RATES, _FEW = 3, 4, 2
"""The numbers that show a pace: _PERIODS consecutive similar periods, or _RATES consecutive similar rates.

_FEW nearly equal rates suffice if the response has no more than _RATES closed windows. In longer responses, so few may be a
coincidence.
"""

MEDIA = r"^(?:audio|video)/"
PLAYERS = (
    r"^(?:Lavf/|VLC/|mpv|MPlayer|GStreamer|AppleCoreMedia/|stagefright/|NSPlayer/|WMPlayer|Kodi/|mpg123/|WinampMPEG/|"
    r"Music Player Daemon|foobar2000|QuickTime|iTunes/|Squeezelite)|ExoPlayer|AndroidXMedia3"
)
"""A pattern for the User-Agent of players, and of the libraries with which they read. Lavf is FFmpeg."""
COMMANDS = r"(?i)^(?:curl|wget2?|aria2|axel|lftp|rclone|htslib)/|^Debian APT-|^libdnf"
"""A pattern for the User-Agent of download programs that are run as commands. These programs may limit their rate, or feed
another program.
"""
_OF_RESPONSE = ["connection", "response"]


class Pace(NamedTuple):
    """How a receiver reads, as far as one of its closed windows shows it.

    `of_client`: the window belongs to a client.
    `period`: the time (ns) between two openings of the window. `rate`: the bytes per second between them.
    Both are None unless the values are similar for at least half of the closed windows of the response. They are also None for a
    window that was closed for more than two periods. An exception is the first closed window of a response: it may be closed for
    longer if the client had read ahead (see `_read_ahead`).
    `plays`: the response is audio or video, or its client is a player, and the window was closed for at most OWN_PACE.
    `downloads`: the client is a download program that can limit its rate, or the receiver downloads by FTP.
    `longest_pause`: the longest time (ns) for which the client closed its window in the response.
    `paused_percent`: the percentage of the response's time for which its windows were closed; None unless the response is
    complete.

    Openings count only if they are at most OWN_PACE apart. All fields but `of_client` are about HTTP clients that are not
    gateways, because a gateway may wait for a client of its own. `downloads` and `longest_pause` are also about FTP.
    """

    of_client: bool
    period: int | None
    rate: int | None
    plays: bool
    downloads: bool
    longest_pause: int | None
    paused_percent: float | None


class ReadingPace(Index):
    """How the receivers of data read that closed their windows.

    Candidates have the `direction` of the receiver, and the packet (`frame`) that closed the window. `opened` and `offset`: the
    time (ns) at which it opened, and the stream offset of the next data; null if it never opened. `closed`: the time (ns) for
    which it was closed. `from_start`: no data had been sent before.
    """

    NEEDS: ClassVar[tuple[str, ...]] = (
        *("connection", "direction", "http", "frame", "start", "end", "opened", "offset", "closed", "from_start"),
    )

    @classmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> ReadingPace:
        """Return the paces shown by the windows of the candidates (see world.Index)."""
        return cls(_with_pace(pl.concat(wanted), tables.connections, tables.exchanges()))

    def __init__(self, rows: pl.DataFrame) -> None:
        paces: dict[Pace, Pace] = {}
        self._paces: dict[tuple[int, int], Pace] = {}
        for frame, end, *values in rows.select("frame", "end", *Pace._fields).iter_rows():
            pace = Pace(*values)
            self._paces[frame, end] = paces.setdefault(pace, pace)

    def of(self, frame: int, end: int) -> Pace | None:
        """Return what the window shows that the packet `frame` closed until the time `end` (ns).

        None: the receiver had nothing to read. No data had been sent before, and not more than one byte came later.
        """
        return self._paces.get((frame, end))


def _with_pace(rows: pl.DataFrame, connections: pl.LazyFrame, exchanges: pl.LazyFrame) -> pl.DataFrame:
    """Add the columns of `Pace` to the rows about receivers that had data to read."""
    most = OWN_PACE.value
    ends = of_connections(connections, rows).select("connection", "client_direction", "client_bytes", "server_bytes")
    numbered = rows.lazy().with_row_index("number").join(ends.unique("connection", keep="last"), on="connection", how="left")
    of_client = (c("direction") == c("client_direction")).fill_null(value=False)
    sent = pl.when(of_client).then("server_bytes").otherwise("client_bytes").fill_null(2)
    numbered = numbered.filter(~c("from_start") | (c("opened").is_null() & (sent > 1))).with_columns(of_client.alias("of_client"))
    asked = (
        of_connections(exchanges, rows)
        .select(
            *("connection", "request_forwarded", "request_start", "response_start", "response_offset"),
            c("exchange").alias("response"),
            pl.when(c("response_end_reason") == "complete").then(c("response_end") - c("response_start")).alias("response_time"),
            media(c("response_content_type"), c("request_user_agent")).alias("media"),
            c("request_user_agent").cast(pl.String).str.contains(COMMANDS).fill_null(value=False).alias("downloads"),
        )
        .drop_nulls("request_start")
        .sort("request_start")
    )
    held = (
        numbered.filter(c("of_client") & c("http"))
        .sort("start", "number")
        .join_asof(asked, left_on="start", right_on="request_start", by="connection", check_sortedness=False)
        .filter(~c("request_forwarded"))
        .sort("start", "number")
    )
    within = (_closed() <= 2 * c("while_paced")) | (~c("opened_before") & _read_ahead())
    found = _with_periods(held, most).select(
        "number",
        *(pl.when(within).then(name).alias(name) for name in ("period", "rate")),
        _closed().max().over(_OF_RESPONSE).alias("longest_pause"),
        (_closed().sum().over(_OF_RESPONSE) * 100 / c("response_time")).ceil().alias("paused_percent"),
        (c("media") & (_closed() <= most)).alias("plays"),
        "downloads",
    )
    by_ftp = _ftp_downloads(numbered, connections)
    made = numbered.join(found, on="number", how="left").join(by_ftp, on="number", how="left").sort("number").collect()
    return made.with_columns(
        c("plays").fill_null(value=False),
        c("downloads").fill_null(c("ftp_pause").is_not_null()),
        pl.coalesce("longest_pause", "ftp_pause").alias("longest_pause"),
    )


def _ftp_downloads(numbered: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows whose receiver downloads by FTP (RFC 959), with `ftp_pause`: its longest pause (ns) on the connection.

    At the time of the download, such a receiver has a control connection to the sender's port 21. Either side may open the
    connection for the data. FTP is used only for file transfers, so no User-Agent is needed to recognize a download program.
    """
    controls = connections.filter(c("server").str.ends_with(":21")).select(
        c("client_host").alias("ftp_client"),
        host_of("server").alias("ftp_server"),
        c("start").alias("ftp_start"),
        c("end").alias("ftp_end"),
    )
    hosts = connections.select("connection", "client_host", host_of("server").alias("server_host")).unique(
        "connection", keep="last"
    )
    receiver, sender = (
        pl.when("of_client").then(own).otherwise(other).alias(name)
        for own, other, name in (("client_host", "server_host", "ftp_client"), ("server_host", "client_host", "ftp_server"))
    )
    return (
        numbered.filter(~c("http"))
        .join(hosts, on="connection")
        .with_columns(receiver, sender)
        .join(controls, on=["ftp_client", "ftp_server"])
        .filter(c("start").is_between("ftp_start", "ftp_end"))
        .unique("number")
        .select("number", _closed().max().over("connection", "of_client").alias("ftp_pause"))
    )


def media(content_type: pl.Expr, user_agent: pl.Expr) -> pl.Expr:
    """Return whether a response is audio or video, or its client is a player."""
    kinds = (content_type.cast(pl.String).str.contains(MEDIA), user_agent.cast(pl.String).str.contains(PLAYERS))
    return pl.any_horizontal(kind.fill_null(value=False) for kind in kinds)


def _closed() -> pl.Expr:
    return pl.col("closed").cast(pl.Int64)


def _read_ahead() -> pl.Expr:
    """Return whether the client had read ahead, so its pace explains why the window was closed for so long.

    The average rate up to this opening of the window must be at least the later rate.
    """
    sent, time = c("offset") - c("response_offset"), c("opened") - c("response_start")
    later_sent, later_time = ((c(name).max() - c(name).min()).over(_OF_RESPONSE) for name in ("offset", "opened"))
    return (sent / time >= later_sent / later_time).fill_null(value=False)


def _with_periods(held: pl.LazyFrame, most: int) -> pl.LazyFrame:
    """Add columns with the pace at which a client reads each response. A window that was closed opens again when the client
    reads.

    `period`: the longest time (ns) between two openings, if the window opens at regular times. `rate`: the bytes per second, if
    the amount of data between openings is proportional to the time. `while_paced`: the longest time (ns) between two openings
    that follow such a period or rate. These columns are null if less than half of the closed windows follow a pace.
    `opened_before`: an earlier window of the response has opened.
    """
    period, rate = c("opened").diff(), c("offset").diff() * SECOND // c("opened").diff()
    names = ("period", "rate", "while_paced")
    longest = pl.max_horizontal(f"period_{n}" for n in range(_RATES))
    # a run of similar values covers its windows, and the ones right before and after it
    near = [c("while_paced").shift(n).is_not_null().over(_OF_RESPONSE) for n in range(-_RATES, 2)]
    return (
        held.with_columns(
            c("opened").is_not_null().cum_max().shift(1, fill_value=False).over(_OF_RESPONSE).alias("opened_before"),
            *(period.shift(n).over(_OF_RESPONSE).alias(f"period_{n}") for n in range(_RATES)),
            *(rate.shift(n).over(_OF_RESPONSE).alias(f"rate_{n}") for n in range(_RATES)),
        )
        .with_columns(
            _alike("period", _PERIODS, 5, 5 * MILLISECOND).alias("period"),
            pl.coalesce(
                _alike("rate", _RATES, 10), pl.when(pl.len().over(_OF_RESPONSE) <= _RATES).then(_alike("rate", _FEW, 1))
            ).alias("rate"),
        )
        .with_columns(
            pl.when(c("period") <= most).then("period").alias("period"), pl.when(longest <= most).then("rate").alias("rate")
        )
        .with_columns(pl.when(c("rate").is_not_null()).then(longest).otherwise("period").alias("while_paced"))
        .with_columns(pl.any_horizontal(near).alias("near"))
        .with_columns(
            pl.when(c("near").mean().over(_OF_RESPONSE) >= 0.5).then(c(name).max().over(_OF_RESPONSE)).alias(name)
            for name in names
        )
    )


def _alike(of: str, count: int, percent: int, tolerance: int = 0) -> pl.Expr:
    """Return the largest of the columns `of`_0, `of`_1, ... (`count` columns); null if their values are not alike.

    Values are alike if they are positive, and differ by at most `percent` % of the largest plus `tolerance`.
    """
    names = [f"{of}_{n}" for n in range(count)]
    largest = pl.max_horizontal(names)
    # max_horizontal and min_horizontal ignore nulls
    known = pl.all_horizontal(pl.col(name) > 0 for name in names).fill_null(value=False)
    return pl.when(known & (largest - pl.min_horizontal(names) <= largest * percent // 100 + tolerance)).then(largest)
