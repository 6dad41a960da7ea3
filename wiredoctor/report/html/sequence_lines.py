"""Prepare the data of a time-sequence graph for one direction of a connection; merge neighboring segments to limit its size."""

from __future__ import annotations

from typing import Any

import numpy as np

from wiredoctor.tables import FIN, RST, SYN, Array

MAX_RUNS = 4_000
"""The maximum number of lines for segments, and of lines for ACKs, in each direction."""
MAX_MARKED = 1_500
"""The maximum number of marked packets, and of SACK blocks, in each direction. They are never merged."""

_FIRST_BIN = 16_384
"""The first interval in ns for merging lines. If too many lines are left, they are merged again with longer intervals."""

PLAIN, RESENT, LATE, PROBE, SYN_FIN, RESET = range(6)
"""Kinds of lines: new data, retransmission, out-of-order data that fills a gap, keep-alive probe, SYN or FIN, RST."""

_RUN = np.dtype([("begin", "i8"), ("end", "i8"), ("low", "i8"), ("high", "i8"), ("packets", "i8"), ("kind", "i1")])
_ACK = np.dtype([("time", "i8"), ("ack", "i8"), ("edge", "i8")])


class Lane:
    """One direction of a connection: the segments that one side sent, and the ACKs and windows that the other side returned.

    Stream offsets are in bytes, times in ns since the first packet of the capture. If there are too many segments or ACKs, those
    in the same interval of time are merged.
    """

    def __init__(self) -> None:
        self._runs = np.empty(0, _RUN)
        self._acks = np.empty(0, _ACK)
        self._sacks: list[tuple[int, int, int]] = []
        self._run_bin = self._ack_bin = 0
        self.segments = self.acks = self.marked_left_out = self.sacks_left_out = self.marked = 0

    def add_segments(self, rows: dict[str, Array]) -> None:
        """Add the rows of the table `segments` that have payload, SYN, FIN or RST, in frame order."""
        kind = _kinds(rows)
        self.segments += len(kind)
        marked = (kind != PLAIN) & (kind != SYN_FIN)
        room = max(MAX_MARKED - self.marked, 0)
        keep = ~marked | (np.cumsum(marked) <= room)
        self.marked_left_out += int((~keep).sum())
        self.marked += int((marked & keep).sum())
        made = np.empty(int(keep.sum()), _RUN)
        time, offset = rows["time"][keep], rows["offset"][keep]
        made["begin"] = made["end"] = time
        made["low"], made["high"] = offset, offset + rows["length"][keep]
        made["packets"], made["kind"] = 1, kind[keep]
        self._runs = np.concatenate((self._runs, made))
        while (self._runs["kind"] == PLAIN).sum() > MAX_RUNS and self._run_bin < 1 << 62:
            self._run_bin = max(self._run_bin * 2, _FIRST_BIN)
            self._runs = _merge_neighbors(self._runs, self._run_bin)

    def add_acks(self, time: Array, ack: Array, edge: Array) -> None:
        """Add acknowledgments sent by the receiver of this direction, and the right edges of its receive window (-1: unknown)."""
        made = np.empty(len(time), _ACK)
        made["time"], made["ack"], made["edge"] = time, ack, edge
        self.acks += len(made)
        self._acks = np.concatenate((self._acks, made))
        while len(self._acks) > MAX_RUNS and self._ack_bin < 1 << 62:
            self._ack_bin = max(self._ack_bin * 2, _FIRST_BIN)
            # keep the last ACK of each bin, because the lines of ACKs and windows continue from its values
            bins = self._acks["time"] // self._ack_bin
            self._acks = self._acks[np.append(bins[1:] != bins[:-1], True)]

    def add_sack(self, time: int, low: int, high: int) -> None:
        """Add a SACK block: at `time`, the receiver reported that it had the bytes from `low` to `high` of this stream."""
        if len(self._sacks) < MAX_MARKED:
            self._sacks.append((time, low, high))
        else:
            self.sacks_left_out += 1

    def as_json(self) -> dict[str, Any]:
        """Return the lane as columns for the page. Times and offsets are differences from the previous row, to save space."""
        runs, acks = self._runs, self._acks
        sacks = np.array(self._sacks, np.int64).reshape(-1, 3)
        return {
            "time": _steps(runs["begin"]), "lasts": (runs["end"] - runs["begin"]).tolist(), "low": _steps(runs["low"]),
            "size": (runs["high"] - runs["low"]).tolist(), "packets": runs["packets"].tolist(), "kind": runs["kind"].tolist(),
            "ack_time": _steps(acks["time"]), "ack": _steps(acks["ack"]), "edge": (acks["edge"] - acks["ack"]).clip(-1).tolist(),
            "sack_time": _steps(sacks[:, 0]), "sack_low": _steps(sacks[:, 1]), "sack_size": (sacks[:, 2] - sacks[:, 1]).tolist(),
            "segments": self.segments, "acks": self.acks, "run_bin": self._run_bin, "ack_bin": self._ack_bin,
            "left_out": self.marked_left_out, "sacks_left_out": self.sacks_left_out,
        }  # fmt: skip


def _kinds(rows: dict[str, Array]) -> Array:
    flags = rows["flags"]
    choices = [
        (rows["retransmission"], RESENT), (rows["keep_alive_probe"], PROBE), ((flags & RST) != 0, RESET),
        (rows["fills_gap"], LATE), ((flags & (SYN | FIN)) != 0, SYN_FIN),
    ]  # fmt: skip
    return np.select([c for c, _ in choices], [k for _, k in choices], PLAIN).astype(np.int8)


def _merge_neighbors(runs: Array, width: int) -> Array:
    """Merge the lines of segments (`runs`) that carry new data and begin in the same interval of `width` ns.

    A line whose stream offset is lower than that of the previous line is not merged with the previous line.
    """
    plain = runs["kind"] == PLAIN
    some = runs[plain]
    bins = some["begin"] // width
    starts = np.flatnonzero(np.append(True, (bins[1:] != bins[:-1]) | (some["low"][1:] < some["low"][:-1])))
    made = some[starts]
    made["end"], made["high"] = np.maximum.reduceat(some["end"], starts), np.maximum.reduceat(some["high"], starts)
    made["packets"] = np.add.reduceat(some["packets"], starts)
    both = np.concatenate((made, runs[~plain]))
    return both[np.argsort(both["begin"], kind="stable")]


def _steps(values: Array) -> list[int]:
    return np.diff(values, prepend=0).tolist() if len(values) else []
