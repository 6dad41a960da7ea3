"""Real captures: as many frames as tshark counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.capture.reading import Opened, whole
from tests.support.sweeps import SLOW
from wiredoctor.capture import CaptureError

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"


@SLOW
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not there")
def test_frames_equal_tsharks() -> None:
    wrong = []
    for line in (CORPUS / "oracle.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if not entry["format"].startswith("pcap") or entry["format"].endswith("xz"):  # tshark itself does not read xz
            continue
        try:
            with Opened(CORPUS / "files" / entry["path"]) as capture:
                frames = len(whole(capture)["time"])
        except CaptureError:
            frames = 0
        is_unknown = "network type" in entry["tshark_stderr"]  # tshark opens no file of a link type that it does not know
        if frames != entry["frames"] and not is_unknown:
            wrong.append((entry["path"], frames, entry["frames"]))
    assert not wrong
