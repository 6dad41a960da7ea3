"""What happens to a connection as a whole: counts, history, who closed it how, and its row once it is finished."""

from __future__ import annotations

import socket

import numpy as np

from wiredoctor.scan import Groups
from wiredoctor.tables import ACK, FIN, NEVER, RST, SYN, Array, Columns
from wiredoctor.tcp.flows import RETAINED_PACKETS, RETENTION
from wiredoctor.tcp.state import LETTERS, TcpState


def follow(s: Columns, groups: Groups, index: Array, clock: Array, state: TcpState) -> None:
    """Brings the connections of this epoch up to date; `clock` (n,) is the watermark at each row."""
    c, d = state.connections, state.directions
    slots, side = index[groups.first], 2 * index + s["direction"]
    new = c["first_frame"][slots] == NEVER
    c["first_frame"][slots[new]] = s["frame"][groups.first[new]]
    c["first_time"][slots[new]] = s["time"][groups.first[new]]
    c["last_frame"][slots] = s["frame"][groups.last]
    c["last_time"][slots] = s["time"][groups.last]
    c["last_clock"][slots] = clock[groups.last]
    local = 2 * groups.number + s["direction"]
    sides = (2 * slots[:, None] + np.arange(2)).ravel()
    d["packets"][sides] += np.bincount(local, minlength=len(sides))
    d["bytes"][sides] += np.bincount(local, weights=s["new_bytes"], minlength=len(sides)).astype(np.int64)
    for name, bit in (("fin", FIN), ("rst", RST)):
        rows = np.flatnonzero(((s["flags"] & bit) != 0) & (d[f"{name}_frame"][side] == NEVER))[::-1]
        d[f"{name}_frame"][side[rows]] = s["frame"][rows]
        d[f"{name}_time"][side[rows]] = s["time"][rows]
        d[f"{name}_ack"][side[rows]] = s["ack"][rows]
        d[f"{name}_offset"][side[rows]] = s["offset"][rows] + s["length"][rows]
    ended = (d["fin_frame"][2 * slots] != NEVER) & (d["fin_frame"][2 * slots + 1] != NEVER)
    ended |= (d["rst_frame"][2 * slots] != NEVER) | (d["rst_frame"][2 * slots + 1] != NEVER)
    fresh = slots[ended & ~c["closed"][slots]]
    c["closed"][fresh] = True
    state.closing.extend(fresh.tolist())
    _history(s, side, state)


def _history(s: Columns, side: Array, state: TcpState) -> None:
    flags = s["flags"]
    kinds = {
        "S": (flags & (SYN | ACK)) == SYN,
        "H": (flags & (SYN | ACK)) == (SYN | ACK),
        "A": s["pure_ack"],
        "D": s["new_bytes"] > 0,
        "F": (flags & FIN) != 0,
        "R": (flags & RST) != 0,
        "G": s["acks_unseen"] > 0,
        "T": s["retransmission"],
        "W": s["zero_window"],
    }
    for column, letter in enumerate(LETTERS):
        rows = np.flatnonzero(kinds[letter] & (state.letters[side, column] == NEVER))[::-1]
        state.letters[side[rows], column] = s["frame"][rows]


def expired(state: TcpState) -> list[int]:
    """Slots whose retention is over."""
    over: list[int] = []
    rest: list[int] = []
    clock, frame = state.connections["last_clock"], state.connections["last_frame"]
    for slot in state.closing:
        late = state.clock - int(clock[slot]) >= RETENTION and state.frame - int(frame[slot]) >= RETAINED_PACKETS
        (over if late else rest).append(slot)
    state.closing = rest
    return over


def open_slots(state: TcpState) -> list[int]:
    """Slots of the connections that are not finished, in the order of their ids."""
    slots = [slot for slot in state.flow_keys if state.connections["first_frame"][slot] != NEVER]
    return sorted(slots, key=lambda slot: int(state.connections["id"][slot]))


def release(slots: list[int], state: TcpState) -> None:
    """Forgets finished connections; their slots are used again."""
    gone = set(slots)
    for slot in slots:
        name = state.flow_keys.pop(slot, None)
        if name is not None and state.flows.get(name) == slot:
            del state.flows[name]
        for side in (2 * slot, 2 * slot + 1):
            state.holes.pop(side, None)
            state.proofs.pop(side, None)
    state.closing = [slot for slot in state.closing if slot not in gone]
    if slots:
        array = np.array(slots, dtype=np.int64)
        state.connections.reset(array)
        state.directions.reset(array)
        state.letters[(2 * array[:, None] + np.arange(2)).ravel()] = NEVER
        if state.in_flight:
            keep = ~np.isin(state.in_flight["side"] >> 1, array)
            state.in_flight = {name: values[keep] for name, values in state.in_flight.items()}
    state.free.extend(slots)


def endpoint(version: int, high: int, low: int) -> str:
    """An address as text, RFC 5952 for IPv6."""
    if version == 4:
        return socket.inet_ntop(socket.AF_INET, low.to_bytes(4, "big"))
    return socket.inet_ntop(socket.AF_INET6, high.to_bytes(8, "big") + low.to_bytes(8, "big"))


def client_direction(slot: int, heard: int, state: TcpState) -> int:
    """0 or 1: by SYN, SYN-ACK, the first HTTP head (`heard`, -1 without), the higher port, the first packet."""
    c, d = state.connections, state.directions
    if c["role_rank"][slot] > 0:
        return int(c["client_direction"][slot])
    if heard >= 0:
        return heard
    return int(d["port"][2 * slot + 1] > d["port"][2 * slot])


def connection_rows(slots: list[int], heard: dict[int, tuple[int, str, int]], state: TcpState) -> dict[str, list[object]]:
    """Rows of tables.CONNECTIONS. `heard`: slot -> direction of the HTTP client (-1: none), protocol, exchanges."""
    rows: dict[str, list[object]] = {}
    for slot in slots:
        direction, protocol, exchanges = heard.get(slot, (-1, "none", 0))
        for name, value in _row(slot, direction, protocol, exchanges, state).items():
            rows.setdefault(name, []).append(value)
    return rows


def _row(slot: int, heard: int, protocol: str, exchanges: int, state: TcpState) -> dict[str, object]:
    c = {name: array[slot].item() for name, array in state.connections.arrays.items()}
    client = client_direction(slot, heard, state)
    sides = (2 * slot + client, 2 * slot + 1 - client)
    d = [{name: array[side].item() for name, array in state.directions.arrays.items()} for side in sides]
    hosts = [endpoint(c["ip_version"], x["address_high"], x["address_low"]) for x in d]
    ends = [f"[{h}]:{x['port']}" if c["ip_version"] == 6 else f"{h}:{x['port']}" for h, x in zip(hosts, d, strict=True)]
    closed_by, close = _close(d[0], d[1])
    return {
        "connection": c["id"], "client": ends[0], "server": ends[1], "client_host": hosts[0], "client_direction": client,
        "packets": d[0]["packets"] + d[1]["packets"], "duplicates": c["duplicates"],
        "client_packets": d[0]["packets"], "server_packets": d[1]["packets"],
        "client_bytes": d[0]["bytes"], "server_bytes": d[1]["bytes"],
        "first_frame": c["first_frame"], "last_frame": c["last_frame"], "start": c["first_time"], "end": c["last_time"],
        "handshake": d[0]["syn_seen"] and d[1]["syn_seen"], "rtt_client": d[0]["rtt"], "rtt_server": d[1]["rtt"],
        "client_unseen_bytes": d[0]["unseen_bytes"], "server_unseen_bytes": d[1]["unseen_bytes"],
        "unseen_places": c["unseen_places"], "unseen_frame": c["unseen_frame"], "unseen_time": c["unseen_time"],
        "protocol": protocol, "history": _history_text(slot, client, state), "closed_by": closed_by, "close": close,
        "exchanges": exchanges, "said_at": state.clock,
    }  # fmt: skip


def _history_text(slot: int, client: int, state: TcpState) -> str:
    seen: list[tuple[int, int, str]] = []
    for direction in (0, 1):
        for column, frame in enumerate(state.letters[2 * slot + direction].tolist()):
            if frame != NEVER:
                letter = LETTERS[column]
                seen.append((frame, column, letter if direction == client else letter.lower()))
    return "".join(letter for _, _, letter in sorted(seen))


def _close(client: dict[str, int], server: dict[str, int]) -> tuple[str, str]:
    """Who closed first and how. Acknowledgement numbers decide the order, not clocks: FINs that cross are of both."""
    first, second = _first_close(client), _first_close(server)
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


def _first_close(side: dict[str, int]) -> tuple[int, str, int, int] | None:
    """Frame, kind, ACK and offset of the FIN, or of the RST where there was no FIN."""
    for kind in ("fin", "rst"):
        if side[f"{kind}_frame"] != NEVER:
            return side[f"{kind}_frame"], kind, side[f"{kind}_ack"], side[f"{kind}_offset"]
    return None
