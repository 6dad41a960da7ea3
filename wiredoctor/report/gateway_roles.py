"""Find the role that each exchange has at a gateway, for the column `gateway` in JSON and CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from wiredoctor.findings import Report
    from wiredoctor.gateways import Gateways

KEY = ["capture", "connection", "exchange"]

_PLACE = pl.Struct({"connection": pl.Int64(), "exchange": pl.Int32()})
_MEMBERS = {"role": pl.String(), "certain": pl.Boolean(), "tries": pl.List(_PLACE), "front": _PLACE}
DTYPE = pl.Struct(_MEMBERS)
"""The type of the column `gateway`, which docs/pages/json.md describes. The column is null if no gateway is involved."""


class Roles:
    """Adds the column `gateway` to batches of exchanges, which must have the columns listed in KEY."""

    def __init__(self, report: Report) -> None:
        known = {file: one for file, one in report.gateways.items() if one.fronts}
        self._of = pl.concat([_roles(file, one) for file, one in known.items()]) if known else None
        fronts = [_connections(report, file, [*one.fronts]) for file, one in known.items()]
        self._fronts = pl.concat(fronts).with_columns(pl.lit(value=True).alias("at_front")).collect() if fronts else None

    def add(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows with the column `gateway`: the role of each exchange at a gateway, or null."""
        if self._of is None or self._fronts is None:
            return rows.with_columns(pl.lit(None, DTYPE).alias("gateway"))
        placed = rows.join(self._of, on=KEY, how="left", maintain_order="left")
        placed = placed.join(self._fronts, on=["capture", "connection"], how="left", maintain_order="left")
        # an exchange without attempts, which the gateway answered itself, also has the role front
        alone = pl.struct(
            pl.lit("front").alias("role"),
            pl.lit(value=True).alias("certain"),
            pl.lit([], pl.List(_PLACE)).alias("tries"),
            pl.lit(None, _PLACE).alias("front"),
        )
        between = (pl.col("role") == "back") & pl.col("at_front").fill_null(value=False)
        placed = placed.with_columns(role=pl.when(between).then(pl.lit("both")).otherwise("role"))
        gateway = pl.when(pl.col("role").is_not_null()).then(pl.struct(*_MEMBERS)).when("at_front").then(alone)
        return placed.with_columns(gateway.alias("gateway")).drop(*_MEMBERS, "at_front")


def front_ids(report: Report) -> pl.DataFrame | None:
    """Return the keys of the exchanges between gateways and upstream servers, each with the client's exchange that caused it.

    The column `front` contains the client's exchange as "7#2" (exchange 2 of connection 7), or "7#2?" if the match is uncertain.
    Only exchanges in the report are returned; None if there are none.
    """
    tries = [
        known.tries.filter(pl.col("exchange").is_not_null()).with_columns(pl.lit(file).alias("capture"))
        for file, known in report.gateways.items()
        if known.tries.height
    ]
    if not tries:
        return None
    doubt = pl.when("certain").then(pl.lit("")).otherwise(pl.lit("?"))
    front = pl.format("{}#{}{}", "front_connection", "front_exchange", doubt)
    found = pl.concat(tries).lazy().select(*KEY, front.alias("front"))
    found = found.join(report.scan_exchanges().select(KEY), on=KEY, how="semi").collect()
    return found if found.height else None


def _connections(report: Report, file: str, servers: list[str]) -> pl.LazyFrame:
    here = (pl.col("capture") == file) & pl.col("server").is_in(servers)
    return report.scan_connections().filter(here).select("capture", "connection")


def _roles(file: str, known: Gateways) -> pl.DataFrame:
    """Return one row for each exchange between a client and a gateway, or between a gateway and an upstream server.

    The column `role` is "front", "back" or "both". Uncertain exchanges are included.
    """
    c = pl.col
    tries = known.tries.lazy()
    doubts = pl.DataFrame(
        [(front, connection, exchange) for one in known.doubtful for front in (True, False)
         for connection, exchange in (one.fronts if front else one.backs)],
        {"front": pl.Boolean(), "connection": pl.Int64(), "exchange": pl.Int32()}, orient="row",
    ).lazy()  # fmt: skip
    key = ["connection", "exchange"]
    asked = tries.group_by(c("front_connection").alias("connection"), c("front_exchange").alias("exchange"), maintain_order=True)
    fronts = asked.agg(c("certain").all().alias("sure"), pl.struct(connection="connection", exchange="exchange").alias("tries"))
    place = pl.struct(c("front_connection").alias("connection"), c("front_exchange").alias("exchange"))
    backs = tries.filter(c("exchange").is_not_null()).select(*key, c("certain").alias("known"), place.alias("front"))
    doubtful = doubts.group_by(key).agg(c("front").any().alias("as_front"), (~c("front")).any().alias("as_back"))
    every = fronts.join(backs, on=key, how="full", coalesce=True).join(doubtful, on=key, how="full", coalesce=True)
    front = c("tries").is_not_null() | c("as_front").fill_null(value=False)
    back = c("front").is_not_null() | c("as_back").fill_null(value=False)
    return every.select(
        pl.lit(file).alias("capture"),
        *key,
        pl.when(front & back).then(pl.lit("both")).when(front).then(pl.lit("front")).otherwise(pl.lit("back")).alias("role"),
        (c("sure").fill_null(value=True) & c("known").fill_null(value=True) & c("as_front").is_null()).alias("certain"),
        c("tries").fill_null([]),
        "front",
    ).collect()
