"""An epoch ends after so many packets, or so many bytes; nothing else depends on where."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.capture.files import Packet, enhanced, interface, pcap, section
from tests.capture.reading import contents, whole
from wiredoctor.capture import capture as captures
from wiredoctor.capture import open_capture


def packets(sizes: list[int]) -> list[Packet]:
    return [Packet(i * 1_000, bytes([i % 251]) * size, size) for i, size in enumerate(sizes)]


def written(form: str, sizes: list[int]) -> bytes:
    if form == "pcap":
        return pcap(packets(sizes))
    return section("<") + interface("<") + b"".join(enhanced("<", p) for p in packets(sizes))


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_an_epoch_has_no_more_bytes_than_it_may(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captures, "EPOCH_BYTES", 64_000)
    monkeypatch.setattr(captures, "READ_AT_ONCE", 50)
    path = tmp_path / form
    path.write_bytes(written(form, [640] * 1_000))
    with open_capture(path) as capture:
        epochs = [len(records.columns["time"]) for records in capture.epochs(400)]
    assert sum(epochs) == 1_000
    # sixteen parts, of which the last may stay empty rather than be filled packet by packet
    assert all(94 <= count <= 101 for count in epochs[:-1])


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
@pytest.mark.parametrize("sizes", [[60] * 700 + [9_000] * 50 + [60] * 300, [9_000] * 20, [0] * 500 + [1_500], [60_000] * 9])
def test_traffic_that_changes_is_read_whole(form: str, sizes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`whole` checks the frames: they go on from epoch to epoch."""
    path = tmp_path / form
    path.write_bytes(written(form, sizes))
    monkeypatch.setattr(captures, "EPOCH_BYTES", 20_000)
    monkeypatch.setattr(captures, "READ_AT_ONCE", 64)
    with open_capture(path) as capture:
        columns = whole(capture)
        assert contents(capture, columns) == [p.data for p in packets(sizes)]


def test_what_was_given_back_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    sizes = [1_000] * 100
    path.write_bytes(pcap(packets(sizes)))
    with open_capture(path) as capture:
        columns = [(records.columns, records.ends) for records in capture.epochs(10)]
        for good in (False, True):
            for _, ends in columns:
                capture.release(ends, for_good=good)
        read = [data for part, _ in columns for data in contents(capture, part)]
    assert read == [p.data for p in packets(sizes)]
