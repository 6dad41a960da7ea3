"""Several files as one capture: held against mergecap, and against the order of a merge step by step."""

from __future__ import annotations

import shutil
import subprocess
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.capture import files
from tests.capture.files import Packet
from tests.capture.reading import contents, whole
from wiredoctor.capture import CaptureError, merging, open_capture, open_merged

TIMES = st.lists(st.integers(0, 40), max_size=30)


def never(line: str) -> None:
    raise AssertionError(line)


def written(folder: Path, times: list[list[int]]) -> list[str]:
    """A file per list of times; each packet of all files has bytes of its own."""
    number = count()
    paths: list[str] = []
    for i, own in enumerate(times):
        path = folder / f"{i}.pcap"
        path.write_bytes(files.pcap([Packet(time * 1_000, b"%08d" % next(number), 8) for time in own]))
        paths.append(str(path))
    return paths


def merged(paths: list[str], epoch: int) -> list[bytes]:
    with open_merged(paths, "merged", never) as capture:
        return contents(capture, whole(capture, epoch))


def step_by_step(times: list[list[int]]) -> list[bytes]:
    """The file goes on whose next packet is the earliest, of equals the last."""
    number = count()
    waiting = [[(time, b"%08d" % next(number)) for time in own] for own in times]
    said: list[bytes] = []
    while heads := [(own[0][0], -i) for i, own in enumerate(waiting) if own]:
        said.append(waiting[-min(heads)[1]].pop(0)[1])
    return said


@settings(deadline=None, max_examples=60)
@given(times=st.lists(TIMES.filter(bool), min_size=2, max_size=5), epoch=st.integers(1, 40), ahead=st.integers(1, 7))
def test_the_earliest_goes_first(
    times: list[list[int]], epoch: int, ahead: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("merged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "LEAST_AHEAD", ahead)
        assert merged(written(folder, times), epoch) == step_by_step(times)


@pytest.mark.skipif(shutil.which("mergecap") is None, reason="mergecap is not installed")
@pytest.mark.parametrize(
    "times",
    [
        [[1, 5, 9], [2, 5, 8]],
        [[5, 1, 9, 3], [2, 5, 5], [5]],
        [[10, 11], [1, 2], [5, 30, 4]],
    ],
)
def test_as_mergecap_does(times: list[list[int]], tmp_path: Path) -> None:
    paths, out = written(tmp_path, times), tmp_path / "out.pcapng"
    subprocess.run(["mergecap", "-I", "none", "-w", str(out), *paths], check=True, capture_output=True)
    with open_capture(out) as capture:
        theirs = whole(capture)
        inside = contents(capture, theirs)
    with open_merged(paths, "merged", never) as capture:
        ours = whole(capture, 2)
        assert contents(capture, ours) == inside
        assert ours["time"].tolist() == theirs["time"].tolist()
        # each file has an interface of its own, whatever its number
        pairs = set(zip(ours["interface"].tolist(), theirs["interface"].tolist(), strict=True))
        assert len(pairs) == len(times)


def test_a_part_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    good = written(tmp_path, [[1, 2], [3]])
    (tmp_path / "text").write_text("nothing of the kind")
    said: list[str] = []
    with open_merged([good[0], str(tmp_path / "text"), good[1]], "merged", said.append) as capture:
        assert len(whole(capture)["time"]) == 3
        assert capture.files == (good[0], good[1])
    assert len(said) == 1
    assert said[0].startswith(f"{tmp_path / 'text'}: not a packet capture")


def test_records_of_an_unknown_link_type_are_left_out(tmp_path: Path) -> None:
    """The header alone says that they cannot be read: not one of them is, as where the file stands alone."""
    good, strange = written(tmp_path, [[1, 3], [2]])
    content = bytearray(Path(strange).read_bytes())
    content[20:24] = (0x15F15).to_bytes(4, "little")
    Path(strange).write_bytes(content)
    with open_merged([good, strange], "merged", never) as capture:
        assert capture.damage is not None
        assert "unknown link type" in capture.damage
        assert whole(capture)["time"].tolist() == [0, 2_000_000]


def test_nothing_that_can_be_read(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(CaptureError, match="merged: none of these files can be read"):
        open_merged([str(tmp_path / "a"), str(tmp_path / "b")], "merged", said.append)
    assert said == [f"{tmp_path / 'a'}: no such file", f"{tmp_path / 'b'}: no such file"]


def test_damage_says_of_which_file(tmp_path: Path) -> None:
    """What the others hold behind the damage is read all the same."""
    cut, good = written(tmp_path, [[1, 2, 30], [3, 40]])
    Path(cut).write_bytes(Path(cut).read_bytes()[:-3])
    with open_merged([cut, good], "merged", never) as capture:
        assert len(whole(capture)["time"]) == 4
        assert capture.damage is not None
        assert capture.damage.startswith(f"{cut}: the file ends inside packet 3 ")
        assert good not in capture.damage


def test_times_far_apart(tmp_path: Path) -> None:
    """Nothing overflows where one file is of 1970 and the other of the last second that 32 bits can name."""
    paths: list[str] = []
    for name, time in (("early", 0), ("late", (1 << 32) - 1)):
        path = tmp_path / name
        path.write_bytes(files.pcap([Packet(time * 1_000_000, name.encode(), len(name))]))
        paths.append(str(path))
    assert merged(paths[::-1], 10) == [b"early", b"late"]
