"""From packet records to TCP packets: the fast path for most, the general path for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wiredoctor import limits
from wiredoctor.decode import link as links
from wiredoctor.decode.network import ipv4, ipv6, join
from wiredoctor.decode.reasons import CUT_TCP, link_reason, type_reason
from wiredoctor.decode.state import DecodeState, Oddity
from wiredoctor.decode.transport import tcp
from wiredoctor.tables import PACKETS

if TYPE_CHECKING:
    from wiredoctor.decode.nested import Nested
    from wiredoctor.tables import Array, Columns

FEW = 50
"""Packets that are sooner decoded one by one than by the paths for many."""


def decode(
    data: Array, first_frame: int, records: Columns, state: DecodeState, *, fast: bool = True
) -> tuple[Columns, list[Oddity]]:
    """The TCP packets among these packet records, in order of frames, and what was odd about some.

    data: the capture file (uint8). records: tables.RECORDS columns; frames count from first_frame.
    Returns tables.PACKETS columns and (frame, layer, what) rows, at most limits.ODDITIES.
    fast=False sends every packet through the general path, to hold the two against each other.
    """
    if not fast:
        rows = np.arange(len(records["offset"]))
        columns, oddities = general_path(data, rows, first_frame, records, state)
        return _ordered(columns), oddities[: limits.ODDITIES.value]
    link = links.link_layer(data, records)
    first, second = np.flatnonzero(link.type == links.IPV4_TYPE), np.flatnonzero(link.type == links.IPV6_TYPE)
    four = ipv4(data, first, link.network[first], records, state.tunnels)
    six = ipv6(data, second, link.network[second], records)
    network, refused = join(four.tcp, six.tcp), [*four.refused, *six.refused, *_refused_by_link(link, records)]
    rows = np.sort(np.concatenate([np.flatnonzero(link.type == links.GENERAL), four.general, six.general]))
    if len(rows) > FEW:
        inside = around(data, rows, link, records)
        network, rows, refused = join(network, inside.tcp), inside.general, [*refused, *inside.refused.items()]
        state.encapsulations.update(inside.encapsulations)
        state.longest_cut = max(state.longest_cut, inside.longest_cut)
    columns, part, cut, oddities = tcp(data, first_frame, records, link, network)
    for reason, packets in (*refused, (CUT_TCP, cut)):
        if packets:
            state.not_analysed[reason] += packets
    if len(part):
        rows = np.sort(np.concatenate([rows, part]))
    if len(rows):
        more, odd = general_path(data, rows, first_frame, records, state)
        oddities = sorted(oddities + odd)
        columns = {name: np.concatenate([columns[name], more[name]]) for name in more}
        return _ordered(columns), oddities[: limits.ODDITIES.value]
    return {c.name: columns[c.name] for c in PACKETS.columns}, oddities


def around(data: Array, rows: Array, link: links.Link, records: Columns) -> Nested:
    """Headers inside each other: its modules are loaded when a capture has more than a few of them."""
    from wiredoctor.decode import nested

    return nested.nested(data, rows, link, records)


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
