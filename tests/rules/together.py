"""Check all ladders of a file in one capture, each between other hosts: each must yield its expected findings, and no others."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import wiredoctor
from tests.ladders import ladder_packets, ladders_in, to_pcap
from tests.pipeline.ladders import elsewhere, no_gateways_between
from tests.support.figures import absurd_figures, counts_milliseconds
from wiredoctor.rule_engine import catalogue
from wiredoctor.testing.expectations import compare, expectations

if TYPE_CHECKING:
    from wiredoctor.findings import Finding

OF_CAPTURES = {name for name, module in catalogue().items() if module.family == "capture"}

AT_THE_END = ("the capture ends", "a 401 that closes without saying so", "where no gateway is in the capture", "another address")
"""Words of titles: less is certain because the capture ends soon, which it does not beside longer ladders; or because of what the
capture lacks, which others have."""


def stands_alone(title: str, text: str) -> bool:
    """Whether something else is right of this ladder when there are others in the capture: a rule speaks of all of that at once,
    or of its end."""
    said = {line.strip().removeprefix("=>").split(",")[0].strip() for line in text.splitlines() if line.strip().startswith("=>")}
    return bool(said & OF_CAPTURES) or any(words in title for words in AT_THE_END)


def check_together(file: Path, at: str) -> None:
    """Check all these ladders at this capture point, and that no figure is absurd; AssertionError names each that fails."""
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
        with no_gateways_between():
            report = wiredoctor.analyze(path)
        for finding in report.findings:
            places = [sent[evidence.frame - 1][1:] for evidence in finding.evidence]
            assert len({number for number, _ in places}) == 1, f"{finding.rule} proves itself with packets of several ladders"
            own = [evidence._replace(frame=frame) for evidence, (_, frame) in zip(finding.evidence, places, strict=True)]
            found.setdefault(places[0][0], []).append(replace(finding, evidence=own))
    wrong: list[str] = []
    for number, (title, text) in enumerate(ladders):
        wrong += absurd_figures(found.get(number, []), in_milliseconds=counts_milliseconds(drawn[number]))
        try:
            compare(expectations(text, drawn[number]), found.get(number, []))
        except AssertionError as error:
            wrong.append(f"{title}: {error}")
    assert not wrong, "\n".join(wrong)
