"""Test SYNs whose options the snap length cut off: the options are unknown, which differs from a SYN without options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.core.feeding import tables
from tests.ladders import ladder_packets, to_pcap

if TYPE_CHECKING:
    from pathlib import Path

LADDER = """
  0.000  >  S    win 64240 mss 1300 wscale 7 {snap}
  0.010  <  S.   win 64240 mss 1200 wscale 7 {snap}
  0.010  >  .    win 64256
  0.011  >  P.   x*1000
  0.022  <  .
"""


@pytest.mark.parametrize(
    ("snap", "mss", "window"),
    [
        pytest.param("", 1200, 64256, id="whole"),
        pytest.param("snap 58", 1200, None, id="behind the MSS"),
        pytest.param("snap 54", 1460, None, id="before the options"),
    ],
)
def test_what_was_cut_is_not_known(snap: str, mss: int, window: int | None, tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(to_pcap(ladder_packets(LADDER.format(snap=snap))))
    segments = tables(path)["segments"]
    assert segments["mss"].to_list()[3] == mss
    assert segments["window"].to_list()[2] == window
    assert segments["mss_announced"].to_list()[3]
