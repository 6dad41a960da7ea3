"""Give the rules' `decide` what is known besides the facts of a candidate, and say until when an answer may still change."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, TypeVar, cast

import polars as pl


class Wait(NamedTuple):
    """A decision that is not possible yet: what comes until the time `until` (ns) may change it.

    `on`: the ids of the connections whose packets may make it possible earlier; the candidate is decided again after the next
    packet on one of them. If `on` is empty, it is decided again at `until`.
    """

    until: int
    on: tuple[int, ...] = ()


class CaptureTables(NamedTuple):
    """The tables of the capture as far as it was read, as lazy frames (see wiredoctor.tables); functions return what costs time.

    `closes`, `connections`: the finished rows. `exchanges`: all exchanges. `half_closed`: rows of `closes` for exchanges whose
    client has closed while they go on. `gateways`: the ids of the connections whose client is a gateway. `tries`: rows of the
    table; a live capture does not know them yet when it decides.

    `remembered`: before the end of a live capture, for each index what its method `remember` returned. The tables then contain
    only what took place near the times of the candidates, and the connections and the last exchanges of the candidates.
    """

    closes: pl.LazyFrame
    connections: pl.LazyFrame
    exchanges: Callable[[], pl.LazyFrame]
    gateways: Callable[[], Collection[int]] = tuple
    half_closed: Callable[[], pl.LazyFrame] | None = None
    tries: pl.DataFrame | None = None
    remembered: Mapping[type[Index], Any] | None = None


class Index(ABC):
    """A kind of answer. `NEEDS`: the columns of the candidates from which it is built.

    `HELD`: in a live capture, the answer depends on what comes soon after a close, so candidates wait until their column `due` or
    `final_at`. Otherwise they are decided again and again until their connection can no longer change.
    """

    NEEDS: ClassVar[tuple[str, ...]]
    HELD: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> Index:
        """Return the answers about these candidates; each frame has the columns NEEDS, and belongs to one rule."""

    @classmethod
    def remember(cls, kept: Any, tables: CaptureTables) -> Any:
        """Return what answers need to know of earlier exchanges than those near their candidates; None if they need nothing.

        `kept`: what the previous call returned, or None. `tables`: the rows of `closes` and `exchanges` since then, and at least
        the connections of these. Each row is given once. The result must be bounded.
        """
        del tables
        return kept


I = TypeVar("I", bound=Index)  # noqa: E741


@dataclass(eq=False, repr=False)
class World:
    """What `decide` may ask besides the facts of its candidate.

    `wanted`: returns the candidates of the rules that ask for an index, one frame per rule; a rule of another package has a
    world of its own. `live`: the capture goes on while candidates are decided. `clock`: the time (ns) before which all packets
    were read; None if the capture has ended. `memory`: what rules remember of earlier candidates, by rule name; it lasts for the
    complete analysis, but is empty each time that a live capture decides candidates again (see Index.HELD).
    """

    tables: CaptureTables | None = None
    wanted: Callable[[type[Index]], Sequence[pl.DataFrame]] = lambda _: ()
    live: bool = False
    clock: int | None = None
    memory: dict[str, Any] = field(default_factory=dict[str, Any])
    _built: dict[type[Index], Index] = field(default_factory=dict[type[Index], Index])

    def of(self, index: type[I]) -> I:
        """Return an index, built once for the candidates in `wanted`."""
        if index not in self._built:
            assert self.tables is not None
            self._built[index] = index.build(self.wanted(index), self.tables)
        return cast(I, self._built[index])

    def until(self, known: int) -> int | None:
        """Return `known` (ns) in a live capture, and None otherwise.

        A live decision uses only what was known at that time, so it does not depend on when it is made.
        """
        return known if self.live else None

    def may_change(self, until: int | None) -> bool:
        """Return whether packets that are not read yet may come before `until` (ns)."""
        return until is not None and self.clock is not None and until >= self.clock
