"""All ladders of a file in one capture, between other hosts each: in each what must be found is found, and nothing else."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import polars as pl

import wiredoctor
from tests.ladders import ladder_packets, ladders_in, to_pcap
from tests.pipeline.ladders import elsewhere
from wiredoctor import gateways
from wiredoctor.rules import catalogue
from wiredoctor.testing.expectations import compare, expectations

if TYPE_CHECKING:
    from collections.abc import Callable

    from wiredoctor.findings import Finding

OF_CAPTURES = {name for name, module in catalogue().items() if module.family == "capture"}

AT_THE_END = ("the capture ends", "a 401 that closes without saying so", "where no gateway is in the capture")
"""Words of titles: less is certain because the capture ends soon, which it does not beside longer ladders; or because of what the
capture lacks, which others have."""


def stands_alone(title: str, text: str) -> bool:
    """Whether something else is right of this ladder when there are others in the capture: a rule speaks of all of that at once,
    or of its end."""
    said = {line.strip().removeprefix("=>").split(",")[0].strip() for line in text.splitlines() if line.strip().startswith("=>")}
    return bool(said & OF_CAPTURES) or any(words in title for words in AT_THE_END)


def check_together(file: Path, at: str) -> None:
    """`wiredoctor.testing.check` of all these ladders at this capture point; AssertionError says of which it is not so."""
    ladders = [(title, text) for title, text in ladders_in(file) if not stands_alone(title, text)]
    drawn = [ladder_packets(text, at) for _, text in ladders]
    sent = sorted(
        ((replace(packet, peers=elsewhere(packet.peers, number)), number, frame)
         for number, packets in enumerate(drawn) for frame, packet in enumerate(packets, start=1)),
        key=lambda one: one[0].time,
    )  # fmt: skip
    found: dict[int, list[Finding]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ladders.pcap"
        path.write_bytes(to_pcap([packet for packet, _, _ in sent]))
        with patch("wiredoctor.gateways.find", partial(_within_ladders, gateways.find)):
            report = wiredoctor.analyze(path)
        for finding in report.findings:
            places = [sent[evidence.frame - 1][1:] for evidence in finding.evidence]
            assert len({number for number, _ in places}) == 1, f"{finding.rule} proves itself with packets of several ladders"
            own = [evidence._replace(frame=frame) for evidence, (_, frame) in zip(finding.evidence, places, strict=True)]
            found.setdefault(places[0][0], []).append(replace(finding, evidence=own))
    for number, (title, text) in enumerate(ladders):
        try:
            compare(expectations(text, drawn[number]), found.get(number, []))
        except AssertionError as error:
            raise AssertionError(f"{title}: {error}") from None


def _within_ladders(
    find: Callable[[pl.LazyFrame, pl.LazyFrame], gateways.Gateways], exchanges: pl.LazyFrame, connections: pl.LazyFrame
) -> gateways.Gateways:  # fmt: skip
    """What is known of gateways, but for those that only are because other ladders ask for the same at the same time."""
    known = find(exchanges, connections)
    ladders = dict(connections.select("connection", pl.col("server").str.extract(r"^([\d.]*)\.\d+:")).collect().iter_rows())
    places = known.tries.select("front_connection", "connection").iter_rows()
    own = pl.Series([ladders[front] == ladders[back] for front, back in places], dtype=pl.Boolean)
    fronts = {front: tuple(b for b in behind if _ladder(b) == _ladder(front)) for front, behind in known.fronts.items()}
    return replace(
        known,
        tries=known.tries.filter(own),
        fronts={front: behind for front, behind in fronts.items() if behind},
        doubtful=tuple(one for one in known.doubtful if len({ladders[c] for c, _ in (*one.fronts, *one.backs)}) == 1),
    )


def _ladder(endpoint: str) -> str:
    return endpoint.rpartition(".")[0]
