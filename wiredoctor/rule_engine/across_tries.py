"""Find candidates that belong together: one about a client's exchange with a gateway, others about the gateway's tries for it.

The words "gateway" and "try" are explained in across_gateways.py.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.gateways import Gateways
from wiredoctor.tables import FRONTS, TRIES

_FRONT = ("front_connection", "front_exchange")
_CHAIN = 8
"""The maximum number of gateways in a row through which the tries for a client's exchange are followed."""


class CertainTries:
    """The tries of gateways that certainly belong to one exchange of a client.

    An attempt to connect carries no exchange of its own, so it matches every candidate of its connection.
    """

    def __init__(self, tries: pl.DataFrame | None) -> None:
        """Keep those rows of `tries` (tables.TRIES) whose column `certain` is true."""
        self.tries = (TRIES.empty() if tries is None else tries).filter("certain").select(*TRIES.schema)
        self._chain: pl.DataFrame | None = None

    def of_front(self, mine: pl.DataFrame, causes: pl.DataFrame) -> pl.DataFrame:
        """Return the candidates in `mine`, on the server side of a gateway, that candidates in `causes` explain.

        The candidates in `causes` are on the client side of the gateway. A candidate explains candidates of its own rule only if
        they ended at the same time or later.
        """
        said = causes.select("connection", "exchange", "rule", "end").rename(
            {"connection": _FRONT[0], "exchange": _FRONT[1], "rule": "rule_of_cause", "end": "end_of_cause"}
        )
        c = pl.col
        first = (c("rule_of_cause") != c("rule")) | (c("end_of_cause") <= c("end"))
        return self._with_front(mine, self.tries).join(said, on=[*_FRONT]).filter(first).unique("id")

    def causes(self, mine: pl.DataFrame, cause: pl.DataFrame) -> set[tuple[int, int, int]]:
        """Return (candidate id, start of a try in ns, id of the cause) for the candidates `mine`.

        These are about exchanges on the client side of a gateway. A try is a request or attempt to connect that the gateway made
        for the exchange. The cause is the first candidate in `cause` that belongs to the try.
        """
        if self.tries.is_empty():
            return set()
        behind = self._with_front(cause, self.whole_chain()).sort("frame").unique(["started", *_FRONT], keep="first")
        places = mine.select("id", pl.col("connection").alias(_FRONT[0]), pl.col("exchange").alias(_FRONT[1]))
        found = places.join(behind.rename({"id": "cause"}), on=[*_FRONT]).select("id", "started", "cause")
        return {*found.iter_rows()}

    def seen_in_front(self, core: pl.DataFrame) -> pl.DataFrame:
        """Return the candidates about tries, with the connection and exchange of the client for which the try was made."""
        placed = self._with_front(core, self.whole_chain()).drop("connection", "exchange")
        return placed.rename({_FRONT[0]: "connection", _FRONT[1]: "exchange"})

    def whole_chain(self) -> pl.DataFrame:
        """Return the tries (requests of gateways, and attempts to connect), each with the client's exchange for which it was
        made.

        With several gateways in a row, a try of an inner gateway also serves the clients of the outer gateways. The try is
        returned once for each of these clients, with that client's exchange.
        """
        if self._chain is None:
            self._chain = self._follow()
        return self._chain

    def _follow(self) -> pl.DataFrame:
        found, last = [self.tries], self.tries
        for _ in range(_CHAIN):
            last = (
                last.select(*_FRONT, pl.col("connection").alias("middle"), pl.col("exchange").alias("middle_exchange"))
                .join(self.tries, left_on=["middle", "middle_exchange"], right_on=[*_FRONT])
                .select(*self.tries.columns)
            )
            if last.is_empty():
                break
            found.append(last)
        return pl.concat(found)

    def with_fronts(self, core: pl.DataFrame) -> pl.DataFrame:
        """Add the column `front` to candidates: the connection of the client for which a gateway made the candidate's try.

        If there are several gateways in a row, the column has the connection of the outermost client. For candidates that belong
        to no try, it is null.
        """
        if self.tries.is_empty():
            return core.with_columns(pl.lit(None, pl.Int64).alias("front"))
        chain = self.whole_chain()
        outer = chain.join(chain, left_on=[*_FRONT], right_on=["connection", "exchange"], how="anti")
        found = self._with_front(core, outer).unique("id").select("id", pl.col(_FRONT[0]).alias("front"))
        return core.join(found, on="id", how="left", maintain_order="left")

    @staticmethod
    def _with_front(core: pl.DataFrame, tries: pl.DataFrame) -> pl.DataFrame:
        """Return the candidates that belong to one of `tries`.

        The exchange of the gateway's client, and the start of the try, are added as columns.
        """
        place = ["connection", "exchange"]
        wanted = tries.select(*place, *_FRONT, "started")
        carried = core.join(wanted.drop_nulls("exchange"), on=place)
        attempts = wanted.filter(pl.col("exchange").is_null()).drop("exchange")
        return pl.concat([carried, core.join(attempts, on="connection").select(carried.columns)])


def tries_of(known: Gateways) -> pl.DataFrame:
    """Return the tries of gateways as rows of tables.TRIES.

    A try that may belong to any of several exchanges has a row for each of them, in which `certain` is false.
    """
    if known.tries.is_empty() and not known.doubtful:
        return TRIES.empty()
    sure = known.tries.filter(pl.col("certain") | pl.col("exchange").is_null()).select(*TRIES.schema)
    started = {(c, e): t for c, e, t in known.tries.select("connection", "exchange", "started").iter_rows()}
    rows = [
        (*front, *back, False, started.get(back, 0)) for doubt in known.doubtful for front in doubt.fronts for back in doubt.backs
    ]
    return pl.concat([sure, pl.DataFrame(rows, schema=TRIES.schema, orient="row")])


def fronts_of(known: Gateways) -> pl.DataFrame:
    """Return pairs (endpoint of a gateway, endpoint of a server behind it) as rows of tables.FRONTS."""
    rows = [(front, behind) for front, several in known.fronts.items() for behind in several]
    return pl.DataFrame(rows, schema=FRONTS.schema, orient="row")
