"""What SYN and SYN-ACK agreed on: segment size, window scale, time stamps; and who is the client."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wiredoctor.scan import Groups, fill, last_where
from wiredoctor.tables import ACK, NEVER, NONE, NOT_CAPTURED, SYN, Array, Columns
from wiredoctor.tcp.delivery import own_and_other
from wiredoctor.tcp.state import TcpState

TIMESTAMP_OPTION = 12
"""Bytes of each segment that the time-stamp option takes, RFC 7323 appendix A."""

UNANNOUNCED_MSS = {4: 536, 6: 1220}
"""RFC 9293 section 3.7.1, when a SYN carries no MSS option."""
ETHERNET_MSS = {4: 1460, 6: 1440}
"""Assumed where the SYN was not seen: an MTU of 1500 less 40 or 60 bytes of headers."""


@dataclass
class Agreement:
    """Per row (n,): MSS of direction 0 and 1, scale of the windows announced by each (NONE: not known), both SYNs seen.

    `limit`: what the receiver announced, the longest segment that direction 0 and 1 may send; `announced`: the sender's
    own SYN carried the option, or was not seen; `said`: the MSS in the newest SYN of direction 0 and 1, 0 or less without one.
    """

    mss: tuple[Array, Array]
    limit: tuple[Array, Array]
    announced: tuple[Array, Array]
    shift: tuple[Array, Array]
    both: Array
    repeated: Array
    said: tuple[Array, Array]


def agree(rows: Columns, groups: Groups, index: Array, state: TcpState) -> Agreement:
    """Reads the SYNs of an epoch. `repeated`: SYNs of a side that had sent one before."""
    flags, direction = rows["flags"], rows["direction"]
    is_syn = (flags & SYN) != 0
    directions = state.directions
    seen: list[Array] = []
    values: dict[str, list[Array]] = {"mss": [], "shift": [], "timestamps": []}
    repeated = np.zeros(len(index), dtype=bool)
    for d in (0, 1):
        side = 2 * index + d
        mine = is_syn & (direction == d)
        newest = last_where(mine, groups)
        known = directions["syn_seen"][side]
        seen.append(known | (newest >= 0))
        for name, column in (("mss", "mss"), ("shift", "window_shift"), ("timestamps", "has_timestamps")):
            values[name].append(fill(rows[column], newest, directions[f"syn_{name}"][side]))
        count = np.cumsum(mine)
        count -= (count - mine)[groups.start]
        repeated |= mine & (known | (count > 1))
        last = newest[groups.last]
        have = last >= 0
        target = side[groups.last][have]
        first, slot = _first(mine & ~known, index, groups)
        directions["syn_frame"][2 * slot + d] = rows["frame"][first]
        directions["syn_seen"][target] = True
        directions["syn_time"][target] = rows["time"][last[have]]
        directions["syn_mss"][target] = rows["mss"][last[have]]
        directions["syn_shift"][target] = rows["window_shift"][last[have]]
        directions["syn_timestamps"][target] = rows["has_timestamps"][last[have]]
    both = seen[0] & seen[1]
    version6 = state.connections["ip_version"][index] == 6
    options_cut = [(values["mss"][d] == NOT_CAPTURED) | (values["shift"][d] == NOT_CAPTURED) for d in (0, 1)]
    told = both & ~options_cut[0] & ~options_cut[1]
    stamped = np.where(told, values["timestamps"][0].astype(bool) & values["timestamps"][1].astype(bool), rows["has_timestamps"])
    mss: list[Array] = []
    limit: list[Array] = []
    shift: list[Array] = []
    scaled = (values["shift"][0] >= 0) & (values["shift"][1] >= 0)
    scale_known = both & (values["shift"][0] != NOT_CAPTURED) & (values["shift"][1] != NOT_CAPTURED)
    for d in (0, 1):
        announced = values["mss"][1 - d]
        silent = np.where(version6, UNANNOUNCED_MSS[6], UNANNOUNCED_MSS[4])
        assumed = np.where(version6, ETHERNET_MSS[6], ETHERNET_MSS[4])
        unknown = ~seen[1 - d] | (announced == NOT_CAPTURED)
        size = np.where(unknown, assumed, np.where(announced > 0, announced, silent))
        limit.append(np.maximum(size - TIMESTAMP_OPTION * stamped, 1).astype(np.int64))
        # what a host announces, it seldom exceeds: both come from the MTU of its interface
        own = values["mss"][d]
        size = np.where(own > 0, np.minimum(size, own), size)
        mss.append(np.maximum(size - TIMESTAMP_OPTION * stamped, 1).astype(np.int64))
        shift.append(np.where(scale_known, np.where(scaled, np.minimum(values["shift"][d], 14), 0), NONE))
    _roles(rows, groups, index, state)
    announces = [~seen[d] | (values["mss"][d] > 0) | (values["mss"][d] == NOT_CAPTURED) for d in (0, 1)]
    said = values["mss"][0], values["mss"][1]
    announced = announces[0], announces[1]
    return Agreement((mss[0], mss[1]), (limit[0], limit[1]), announced, (shift[0], shift[1]), both, repeated, said)


def _roles(rows: Columns, groups: Groups, index: Array, state: TcpState) -> None:
    """The client sent the first SYN, or else received a SYN-ACK (rules.md chapter 1)."""
    flags, c = rows["flags"], state.connections
    row, slot = _first(((flags & (SYN | ACK)) == SYN) & (c["syn_frame"][index] == NEVER), index, groups)
    c["syn_frame"][slot], c["client_direction"][slot], c["role_rank"][slot] = rows["frame"][row], rows["direction"][row], 3
    row, slot = _first(((flags & (SYN | ACK)) == (SYN | ACK)) & (c["answer_frame"][index] == NEVER), index, groups)
    c["answer_frame"][slot], c["answered"][slot] = rows["frame"][row], 1 - rows["direction"][row]
    alone = slot[c["role_rank"][slot] < 2]
    c["client_direction"][alone], c["role_rank"][alone] = c["answered"][alone], 2


def _first(mask: Array, index: Array, groups: Groups) -> tuple[Array, Array]:
    """First row of each group where the mask holds, and its slot."""
    wanted = np.flatnonzero(mask)[::-1]
    first = np.full(groups.count, -1)
    first[groups.number[wanted]] = wanted
    row = first[first >= 0]
    return row, index[row]


def windows(rows: Columns, agreement: Agreement) -> Array:
    """Announced window of each row (n,) in bytes after scaling (never in a SYN, RFC 7323 section 2.2); NEVER where unknown."""
    shift, _ = own_and_other(agreement.shift, rows["direction"])
    raw = rows["window"].astype(np.int64)
    scaled = np.where(shift >= 0, raw << np.maximum(shift, 0), NEVER)
    return np.where((rows["flags"] & SYN) != 0, raw, scaled)
