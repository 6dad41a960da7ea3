"""From packet records to TCP packets: the fast path for most, the general path for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wiredoctor.decode import link as links
from wiredoctor.decode.network import ipv4, ipv6, join
from wiredoctor.decode.reasons import CUT_TCP, link_reason, type_reason
from wiredoctor.decode.shares import only_share
from wiredoctor.decode.state import MAX_ODDITIES, DecodeState, Oddity
from wiredoctor.decode.transport import tcp
from wiredoctor.tables import PACKETS

if TYPE_CHECKING:
    from wiredoctor.tables import Array, Columns


def decode(
    data: Array, first_frame: int, records: Columns, state: DecodeState, *, fast: bool = True
) -> tuple[Columns, list[Oddity]]:
    """The TCP packets among these packet records, in order of frames, and what was odd about some.

    data: the capture file (uint8). records: tables.RECORDS columns; frames count from first_frame.
    Returns tables.PACKETS columns and (frame, layer, what) rows, at most MAX_ODDITIES.
    fast=False sends every packet through the general path, to hold the two against each other.
    """
    if not fast:
        rows = np.arange(len(records["offset"]))
        columns, oddities = general_path(data, rows, first_frame, records, state)
        return _ordered(columns), oddities[:MAX_ODDITIES]
    link = links.link_layer(data, records)
    first, second = np.flatnonzero(link.type == links.IPV4_TYPE), np.flatnonzero(link.type == links.IPV6_TYPE)
    four = ipv4(data, first, link.network[first], records, state.tunnels)
    six = ipv6(data, second, link.network[second], records)
    columns, part, cut, oddities = tcp(data, first_frame, records, link, join(four.tcp, six.tcp), state.share)
    for reason, packets in (*four.refused, *six.refused, (CUT_TCP, cut), *_refused_by_link(link, records)):
        if packets:
            state.not_analysed[reason] += packets
    rows = np.sort(np.concatenate([np.flatnonzero(link.type == links.GENERAL), four.general, six.general, part]))
    if len(rows):
        more, odd = general_path(data, rows, first_frame, records, state)
        if state.share[1] > 1:
            # every share reads these packets: the first one tells what is odd about them
            more, odd = only_share(state.share, more), odd if state.share[0] == 0 else []
        oddities = sorted(oddities + odd)
        columns = {name: np.concatenate([columns[name], more[name]]) for name in more}
        return _ordered(columns), oddities[:MAX_ODDITIES]
    return {c.name: columns[c.name] for c in PACKETS.columns}, oddities


def general_path(
    data: Array, rows: Array, first_frame: int, records: Columns, state: DecodeState
) -> tuple[Columns, list[Oddity]]:
    """Its ten modules are loaded when a capture needs them: most never do."""
    from wiredoctor.decode import general

    return general.general_path(data, rows, first_frame, records, state)


def _ordered(columns: Columns) -> Columns:
    order = np.argsort(columns["frame"], kind="stable")
    return {c.name: columns[c.name][order] for c in PACKETS.columns}


def _refused_by_link(link: links.Link, records: Columns) -> list[tuple[str, int]]:
    """Packets that had no IP header to go on with, by reason."""
    other = np.flatnonzero((link.type != links.IPV4_TYPE) & (link.type != links.IPV6_TYPE) & (link.type != links.GENERAL))
    if not len(other):
        return []
    refused: list[tuple[str, int]] = []
    types, counts = np.unique(link.type[other], return_counts=True)
    for type_, packets in zip(types.tolist(), counts.tolist(), strict=True):
        if type_ == links.UNKNOWN_LINK:
            kinds, numbers = np.unique(records["link_type"][other[link.type[other] == type_]], return_counts=True)
            refused += [(link_reason(k), n) for k, n in zip(kinds.tolist(), numbers.tolist(), strict=True)]
        else:
            refused.append((type_reason(type_), packets))
    return refused
