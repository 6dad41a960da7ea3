"""The rows of tables.CONNECTIONS. Only text is made connection by connection: a scan leaves hundreds of thousands."""

from __future__ import annotations

import socket
from typing import Any

import numpy as np

from wiredoctor.tables import NEVER, Array, Columns
from wiredoctor.tcp.connects import told_by_data
from wiredoctor.tcp.state import LETTERS, TcpState

_FAR = np.iinfo(np.int64).max
_BOTH_CASES = [case for letter in LETTERS for case in (letter, letter.lower())]
"""The letters of a history, those of the client first, in the order of `_histories`."""

_AS_TOLD = (
    *("duplicate_frame", "duplicate_time", "duplicate_first_frame", "duplicate_way"),
    *("conflicts", "conflict_frame", "conflict_time", "conflict_first_frame"),
    *("syns", "syn_frame", "syn_time", "second_syn_time", "third_syn_time", "last_syn_frame", "last_syn_time", "syn_extras"),
    *("first_answer_frame", "first_answer_time", "newest_answer_frame", "newest_answer_time"),
    *("answered_syn_frame", "answered_syn_time", "answered_syn_extras", "refused_frame", "refused_time"),
)
"""Columns of tables.CONNECTIONS that are kept as they are told."""

_Told = tuple[str, str, str, str, bool]
_Heard = tuple[int, str, int, int, int, int, _Told]
"""Direction of the HTTP client (-1: none), protocol, `_AS_HEARD`, and `_HELLO`."""
_AS_HEARD = ("exchanges", "cut_heads", "cut_frame", "cut_time")
_HELLO = ("tls_version", "server_name", "alpn_offered", "alpn_chosen", "encrypted_hello")
_NO_HELLO: _Told = ("", "", "", "", False)
_NOTHING_HEARD: _Heard = (-1, "none", 0, 0, NEVER, NEVER, _NO_HELLO)

_Close = tuple[int, str, int, int]
"""Frame, kind, ACK and offset of the FIN, or of the RST where there was no FIN."""


def connection_rows(slots: list[int], heard: dict[int, _Heard], state: TcpState) -> dict[str, Any]:
    """Rows of tables.CONNECTIONS. `heard`: slot -> what HTTP says of it."""
    index = np.array(slots, dtype=np.int64)
    spoken = [heard.get(slot, _NOTHING_HEARD) for slot in slots]
    client = _client_directions(index, np.array([direction for direction, *_ in spoken], dtype=np.int64), state)
    sides = (2 * index + client, 2 * index + 1 - client)
    c = {name: array[index] for name, array in state.connections.arrays.items()}
    d, s = ({name: array[side] for name, array in state.directions.arrays.items()} for side in sides)
    six = (c["ip_version"] == 6).tolist()
    client_hosts, server_hosts = _hosts(six, d), _hosts(six, s)
    closes = [_close(one, other) for one, other in zip(_closes(d), _closes(s), strict=True)]
    return {
        "connection": c["id"], "client": _ends(six, client_hosts, d), "server": _ends(six, server_hosts, s),
        "client_host": client_hosts, "client_direction": client.astype(np.int8),
        "packets": d["packets"] + s["packets"], "duplicates": c["duplicates"],
        "client_packets": d["packets"], "server_packets": s["packets"],
        "client_bytes": d["bytes"], "server_bytes": s["bytes"],
        "first_frame": c["first_frame"], "last_frame": c["last_frame"], "start": c["first_time"], "end": c["last_time"],
        "handshake": d["syn_seen"] & s["syn_seen"], "rtt_client": d["rtt"], "rtt_server": s["rtt"],
        "client_unseen_bytes": d["unseen_bytes"], "server_unseen_bytes": s["unseen_bytes"],
        "unseen_places": c["unseen_places"], "unseen_frame": c["unseen_frame"], "unseen_time": c["unseen_time"],
        "one_sided": _one_sided(c, sides, (d, s), state),
        **{name: c[name] for name in _AS_TOLD}, "connected": d["acknowledged"] != NEVER,
        "data_rtt": told_by_data((d["data_rtt"], s["data_rtt"]), c["second_syn_time"]),
        "super_segments": c["super_segments"], "super_frame": c["super_frame"], "super_time": c["super_time"],
        "super_mss": c["super_mss"],
        "protocol": [protocol for _, protocol, *_ in spoken], "history": _histories(sides, state),
        "closed_by": [who for who, _ in closes], "close": [how for _, how in closes],
        **{name: [values[n] for values in spoken] for n, name in enumerate(_AS_HEARD, start=2)},
        **_hellos([values[-1] for values in spoken]),
        "said_at": np.where(c["replaced_at"] == NEVER, state.clock, c["replaced_at"]),
    }  # fmt: skip


def _hellos(told: list[_Told]) -> dict[str, list[Any]]:
    if all(one is _NO_HELLO for one in told):
        return {name: [value] * len(told) for name, value in zip(_HELLO, _NO_HELLO, strict=True)}
    return {name: [one[n] for one in told] for n, name in enumerate(_HELLO)}


def _one_sided(c: Columns, sides: tuple[Array, Array], both: tuple[Columns, Columns], state: TcpState) -> Array:
    """Packets of one side alone, though they show that the other one answered.

    Its acknowledgements advance, or acknowledge the answer to its SYN; or, in the middle of a connection, it goes on with
    new data and never repeats itself.
    """
    client, server = both
    alone = (client["packets"] == 0) != (server["packets"] == 0)
    seen = client["packets"] > 0
    acknowledged, packets, size = (np.where(seen, client[name], server[name]) for name in ("acknowledged", "packets", "bytes"))
    repeats = state.letters[np.where(seen, *sides), LETTERS.index("T")] != NEVER
    begun = (c["syn_frame"] == NEVER) & (c["answer_frame"] == NEVER)
    goes_on = begun & (packets >= 3) & (size > 0) & ~repeats
    return alone & (acknowledged != NEVER) & ((acknowledged > 0) | (c["syn_frame"] != NEVER) | goes_on)


def _client_directions(slots: Array, heard: Array, state: TcpState) -> Array:
    """0 or 1: by SYN, SYN-ACK, the first HTTP head (`heard`, -1 without), the higher port, the first packet."""
    c, port = state.connections, state.directions["port"]
    by_port = port[2 * slots + 1] > port[2 * slots]
    known = c["role_rank"][slots] > 0
    return np.where(known, c["client_direction"][slots], np.where(heard >= 0, heard, by_port)).astype(np.int64)


def _hosts(six: list[bool], side: Columns) -> list[str]:
    """Addresses as text, RFC 5952 for IPv6."""
    halves = zip(six, side["address_high"].tolist(), side["address_low"].tolist(), strict=True)
    return [
        socket.inet_ntop(socket.AF_INET6, high.to_bytes(8, "big") + low.to_bytes(8, "big"))
        if is_six
        else socket.inet_ntop(socket.AF_INET, low.to_bytes(4, "big"))
        for is_six, high, low in halves
    ]


def _ends(six: list[bool], hosts: list[str], side: Columns) -> list[str]:
    ports = side["port"].tolist()
    return [f"[{h}]:{p}" if is_six else f"{h}:{p}" for is_six, h, p in zip(six, hosts, ports, strict=True)]


def _histories(sides: tuple[Array, Array], state: TcpState) -> list[str]:
    """Letters in the order of the frames in which each was first true; where one frame brings several, in that of LETTERS."""
    frames = np.stack([state.letters[side] for side in sides], axis=2).reshape(-1, len(_BOTH_CASES))
    frames[frames == NEVER] = _FAR
    order: list[list[int]] = np.argsort(frames, axis=1, kind="stable").tolist()
    counts: list[int] = np.count_nonzero(frames != _FAR, axis=1).tolist()
    return ["".join([_BOTH_CASES[i] for i in row[:count]]) for row, count in zip(order, counts, strict=True)]


def _closes(side: Columns) -> list[_Close | None]:
    fin = side["fin_frame"] != NEVER
    numbers = [np.where(fin, side[f"fin_{name}"], side[f"rst_{name}"]).tolist() for name in ("frame", "ack", "offset")]
    return [
        None if frame == NEVER else (frame, "fin" if is_fin else "rst", ack, offset)
        for is_fin, frame, ack, offset in zip(fin.tolist(), *numbers, strict=True)
    ]


def _close(first: _Close | None, second: _Close | None) -> tuple[str, str]:
    """Who closed first and how. Acknowledgement numbers decide the order, not clocks: FINs that cross are of both."""
    if first is None:
        return ("", "") if second is None else ("server", second[1])
    if second is None:
        return "client", first[1]
    (cf, ck, ca, co), (sf, sk, sa, so) = first, second
    client_knew = ca != NEVER and ca > so if sk == "fin" else ck == "rst" and cf > sf
    server_knew = sa != NEVER and sa > co if ck == "fin" else sk == "rst" and sf > cf
    if client_knew and not server_knew:
        return "server", sk
    if server_knew and not client_knew:
        return "client", ck
    if ck == sk == "fin":
        return "both", "fin"
    # an RST without an ACK number answers what came before it
    return ("client", ck) if cf < sf else ("server", sk)
