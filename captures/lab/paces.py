"""Record programs that write at their own pace, and twins that a delayed ACK holds up, and count how many stalls are reported
correctly.

    python captures/lab/paces.py make FOLDER [--jobs N] [--only NAME,...]
    python captures/lab/paces.py score FOLDER [--python PYTHON] [--jobs N] [--only NAME,...]

Each recording has its own pair of namespaces. The two programs run on one host (with no round trip), or on two hosts, 8 ms apart.
A write was held back if its first byte left HELD plus one round trip after it was written; NAME.json beside NAME.pcap contains
the times of the writes. A reported stall is wrong if the segment that it calls released contains no write that waited. Run `make`
as root. A recording takes 4 to 20 s, mostly waiting.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from batch import is_wanted, make_missing, parser_of, reports
from impairments import Conditions
from network import cable, namespaces, tcpdump
from scenario import PEERS

if TYPE_CHECKING:
    from argparse import Namespace

KINDS = ("tcp", "websocket", "grpc", "events")
PERIODS = (20, 25, 30, 33, 36, 38, 39, 40, 41, 42, 43, 44, 46, 48, 50, 55, 60, 70, 80, 90, 100)
"""The periods between writes in ms."""
LOOP_PERIODS = (60, 70, 80, 85, 90, 100, 110, 120)
COUNT = 150
HELD = 0.030
"""The minimum wait in seconds that must be reported. No delayed ACK comes sooner, unless its receiver reads late."""
BRIEFLY = 0.002
"""The wait in seconds below which a write must not be reported. Between the two values, the sender was already waiting when it
wrote.
"""
RTT = 0.008
PORT = 8080
RELEASED = 2
"""The index of the released segment in the evidence of these rules: data, its ACK, the released segment."""
RULES = ("nagle-delayed-ack", "delayed-ack-stall")

WITHIN = 120.0
"""The maximum duration of a recording in seconds; after that, it has failed."""


class Case(NamedTuple):
    """A recording: what is written, how often, and on how many hosts."""

    kind: str
    style: str
    period: int
    hosts: int

    @property
    def name(self) -> str:
        """The name of the files of the recording."""
        return f"{self.style}-{self.kind}-{self.period}-{self.hosts}"


def cases() -> list[Case]:
    """Return all recordings."""
    some = [Case(kind, style, p, hosts) for kind in KINDS for style in ("own", "pairs") for p in PERIODS for hosts in (1, 2)]
    loops = [Case(kind, "loop", period, hosts) for kind in ("tcp", "websocket") for period in LOOP_PERIODS for hosts in (1, 2)]
    return some + loops


def make(case: Case, folder: Path) -> None:
    """Record a case, and store the times at which bytes were written."""
    plan = json.dumps({"kind": case.kind, "style": case.style, "period": case.period / 1000, "count": COUNT, "seed": case.period})
    path = folder / f"{case.name}.pcap"
    program = [sys.executable, str(PEERS / "paced.py")]
    with ExitStack() as running:
        if case.hosts == 1:
            client, server = running.enter_context(namespaces())
            client = server
            server.run("ip", "link", "set", "lo", "up")
            address = "127.0.0.1"
        else:
            client, server, _ = running.enter_context(cable(Conditions(RTT / 2)))
            address = server.address
        writer_host = client if case.style == "loop" else server
        with tcpdump(writer_host, path, interface="lo" if case.hosts == 1 else "eth0"):
            served = server.start(*program, "server", str(PORT), plan, stdout=subprocess.PIPE)
            server.wait_for_listener(PORT)
            asked = client.run(*program, "client", address, str(PORT), plan, timeout=90)
            served.wait(5)
        assert served.stdout
        writes = json.loads(asked.stdout or served.stdout.read())
    (folder / f"{case.name}.json").write_text(json.dumps({**case._asdict(), "writes": writes}) + "\n")


def segments(path: Path, *, from_server: bool) -> list[tuple[float, int, int, int]]:
    """Return time, first offset, end and frame of each segment of the writing side."""
    which = f"tcp.{'src' if from_server else 'dst'}port == {PORT} && tcp.len > 0"
    fields = [word for name in ("frame.time_epoch", "tcp.seq", "tcp.len", "frame.number") for word in ("-e", name)]
    words = ["tshark", "-n", "-r", str(path), "-Y", which, "-T", "fields", *fields]
    lines = subprocess.run(words, capture_output=True, check=True, text=True).stdout.split("\n")
    rows = [line.split("\t") for line in lines if line]
    return [(float(time), int(seq) - 1, int(seq) - 1 + int(size), int(frame)) for time, seq, size, frame in rows]


def held_in(sent: list[tuple[float, int, int, int]], writes: list[tuple[float, int]], least: float) -> set[int]:
    """Return the frames of the segments with the first byte of a write that waited for `least` seconds or longer."""
    held: set[int] = set()
    for written, at in writes[1:]:
        carriers = [(time, frame) for time, start, end, frame in sent if start <= at < end]
        held |= {frame for time, frame in carriers[:1] if time - written >= least}
    return held


def score(words: Namespace) -> int:
    """Analyze every recording, and print which stalls were found and which were not. Return 1 if a required score was missed."""
    known = {path: json.loads(path.read_text()) for path in sorted(words.folder.glob("*.json"))}
    known = {path.with_suffix(".pcap"): one for path, one in known.items() if is_wanted(words, path.stem, one["style"])}
    table: dict[tuple[str, int], list[int]] = {}
    for (path, one), report in zip(known.items(), reports(words.python, [*known], words.jobs), strict=True):
        least = HELD + (RTT if one["hosts"] == 2 else 0)
        sent = segments(path, from_server=one["style"] != "loop")
        held, waited = held_in(sent, one["writes"], least), held_in(sent, one["writes"], BRIEFLY)
        found = [finding for finding in report["findings"] if finding["rule"] in RULES]
        stalls = [[step["frame"] for step in finding["evidence"]] for finding in found]
        right = sum(any(frame in frames for frames in stalls) for frame in held)
        false = sum(frames[RELEASED] not in waited for frames in stalls)
        counts = table.setdefault((one["style"], one["hosts"]), [0, 0, 0, 0])
        for index, number in enumerate((1, len(held), right, false)):
            counts[index] += number
        if false or (one["style"] == "own" and stalls) or right < 0.95 * len(held):
            print(f"{path.name:30} held {len(held):4}, told {right:4}, false {false:3}")
    for (style, hosts), (recordings, held_count, right, false) in sorted(table.items()):
        print(f"{style:6} on {hosts}: {recordings} recordings, {right} of {held_count} stalls told, {false} false")
    told_enough = all(c[2] >= 0.95 * c[1] for c in table.values())
    return int(not told_enough or any(count[3] for (style, _), count in table.items() if style == "own"))


def main() -> int:
    """Run the command line."""
    words = parser_of(__doc__, jobs=6, only="own-tcp-40-1 and the like, or a style", seeded=False).parse_args()
    words.folder.mkdir(parents=True, exist_ok=True)
    if words.action == "score":
        return score(words)
    some = [case for case in cases() if is_wanted(words, case.name, case.style)]
    if words.action == "one":
        make(some[0], words.folder)
        return 0
    return make_missing(__file__, [case.name for case in some], words, WITHIN)


if __name__ == "__main__":
    sys.exit(main())
