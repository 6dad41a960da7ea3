"""Test that input that is not a capture is refused in one line, and that compressed files and pipes are first copied to a
temporary file.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import pytest
import zstandard

from tests.capture import files
from tests.capture.files import Packet
from tests.capture.reading import Opened, contents, read, whole
from wiredoctor.capture import CaptureError

ROOT = Path(__file__).parents[2]

_NOISE = random.Random(1)
PACKETS = [Packet(i, _NOISE.randbytes(1_000), 1_000) for i in range(400)]
CONTENT = files.pcap(PACKETS)

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstandard": zstandard.ZstdCompressor(write_checksum=True).compress,
    "lz4": lambda content: lz4.frame.compress(content, content_checksum=True),
}


def refusal(path: Path | str) -> str:
    with pytest.raises(CaptureError) as caught:
        Opened(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_refusals(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    assert refusal(path) == f"{path}: no such file"
    assert refusal(tmp_path) == f"{tmp_path}: a directory, not a capture file"
    path.write_bytes(b"")
    assert refusal(path) == f"{path}: empty"
    path.write_bytes(b"hello world")
    assert refusal(path) == f'{path}: not a packet capture (begins with "hello wo")'
    path.write_bytes(b"\x00\x01\xff")
    assert refusal(path) == f"{path}: not a packet capture (begins with 00 01 ff)"
    path.write_bytes(gzip.compress(b"hello world"))
    assert refusal(path) == f'{path}: not a packet capture inside gzip (begins with "hello wo")'
    path.write_bytes(CONTENT[:20])
    assert refusal(path) == f"{path}: the file ends inside its header (20 bytes of 24)"
    path.write_bytes(files.pcap(PACKETS, version=(1, 4)))
    assert refusal(path) == f"{path}: pcap version 1.4 is not supported"
    assert "no such file" in refusal("a\0b")


def test_a_format_that_is_not_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"GMBU" + bytes(200))
    assert refusal(path).startswith(f"{path}: a Network Monitor 2.x file, which wiredoctor does not read")
    path.write_bytes(gzip.compress(b"btsnoop\0" + bytes(200)))
    assert "a btsnoop (Bluetooth) file inside gzip" in refusal(path)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(CONTENT)
    path.chmod(0)
    assert refusal(path) == f"{path}: no permission to read it"


def test_captures_without_packets_are_captures(tmp_path: Path) -> None:
    for content in (files.pcap([]), files.section("<"), files.section(">") + files.interface(">")):
        capture, columns = read(tmp_path / "x", content)
        assert (len(columns["time"]), capture.packets, capture.damage, capture.first_time) == (0, 0, None, None)


@pytest.mark.parametrize("method", COMPRESS)
@pytest.mark.parametrize("parts", [1, 3])
def test_compressed(tmp_path: Path, method: str, parts: int) -> None:
    """In one piece, and as several compressed files written one behind the other."""
    step = len(CONTENT) // parts + 1
    packed = b"".join(COMPRESS[method](CONTENT[i : i + step]) for i in range(0, len(CONTENT), step))
    capture, columns = read(tmp_path / "x", packed)
    assert contents(capture, columns) == [p.data for p in PACKETS]
    assert (capture.damage, capture.files.size, capture.records.format) == (None, len(packed), "pcap")


@pytest.mark.parametrize("method", COMPRESS)
def test_compressed_and_cut_off(tmp_path: Path, method: str) -> None:
    packets = PACKETS * 6  # bzip2 gives back 900,000 bytes at a time
    packed = COMPRESS[method](files.pcap(packets)[:-1])
    capture, columns = read(tmp_path / "x", packed[: len(packed) * 2 // 3])
    assert f"{method} data ends too early" in (capture.damage or "")
    found = contents(capture, columns)
    assert 100 < len(found) < len(packets)
    assert found == [p.data for p in packets][: len(found)]


@pytest.mark.parametrize("method", COMPRESS)
def test_compressed_and_damaged(tmp_path: Path, method: str) -> None:
    """The first three packets are a compressed file of their own, which is sound. (A check sum comes at the end of the other.)"""
    packed = bytearray(COMPRESS[method](CONTENT[24 + 1_016 * 3 :]))
    packed[len(packed) // 2] ^= 0xFF
    packed[len(packed) // 2 + 1] ^= 0xFF
    capture, columns = read(tmp_path / "x", COMPRESS[method](CONTENT[: 24 + 1_016 * 3]) + bytes(packed))
    assert method in (capture.damage or "")
    assert contents(capture, columns)[:3] == [p.data for p in PACKETS[:3]]


def test_bombs_stop_at_the_bound(tmp_path: Path) -> None:
    """A megabyte of zeros, compressed, is refused; behind real packets it is cut off where the caller says."""
    (tmp_path / "zeros").write_bytes(gzip.compress(bytes(1 << 20)))
    assert "not a packet capture" in refusal(tmp_path / "zeros")
    capture, columns = read(tmp_path / "x", gzip.compress(CONTENT + bytes(1 << 24)), max_spool=200_000)
    assert "200,000 bytes" in (capture.damage or "")
    assert contents(capture, columns) == [p.data for p in PACKETS][: len(columns["time"])]


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of resources")
@pytest.mark.parametrize("method", COMPRESS)
def test_a_full_disk_cuts_off_what_is_spooled(tmp_path: Path, method: str) -> None:
    """No file may be longer than 100,000 bytes: to the one who writes, that is a full disk."""
    (tmp_path / "x").write_bytes(COMPRESS[method](CONTENT))
    code = (
        "import resource, sys; from tests.capture.reading import Opened, whole; sys.dont_write_bytecode = True; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); c = Opened(sys.argv[1]); "
        "print(len(whole(c)['time']), c.damage)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "x"], cwd=ROOT, capture_output=True, text=True, check=True)
    whole_packets = (100_000 - 24) // 1_016
    assert done.stdout.startswith(f"{whole_packets} only the first 100,000 bytes were stored on disk: there is no more space")


@pytest.mark.parametrize("method", COMPRESS)
def test_what_was_compressed_twice_is_opened_once(tmp_path: Path, method: str) -> None:
    (tmp_path / "x").write_bytes(gzip.compress(COMPRESS[method](CONTENT)))
    assert refusal(tmp_path / "x").startswith(
        f"{tmp_path / 'x'}: {method} inside gzip: only one layer of compression is supported"
    )


@pytest.mark.parametrize("method", ["gzip", "xz", "zstandard", "lz4"])
def test_a_wrong_check_sum_is_said(tmp_path: Path, method: str) -> None:
    """Everything in front of it is read."""
    packed = bytearray(COMPRESS[method](CONTENT))
    packed[{"gzip": -5, "xz": -40, "zstandard": -1, "lz4": -1}[method]] ^= 0xFF
    capture, columns = read(tmp_path / "x", bytes(packed))
    assert f"the {method} data is damaged after" in (capture.damage or "")
    assert len(columns["time"]) == len(PACKETS)


def test_frames_without_content_are_passed_over(tmp_path: Path) -> None:
    """As pzstd writes them."""
    empty = b"\x5a\x2a\x4d\x18\x03\0\0\0abc"
    frames = [COMPRESS["zstandard"](part) for part in (CONTENT[:70_000], CONTENT[70_000:])]
    capture, columns = read(tmp_path / "x", empty + empty.join(frames) + empty)
    assert (len(columns["time"]), capture.damage) == (len(PACKETS), None)


def test_plain_file_is_not_bounded_by_the_spool(tmp_path: Path) -> None:
    capture, columns = read(tmp_path / "x", CONTENT, max_spool=10)
    assert (len(columns["time"]), capture.damage) == (len(PACKETS), None)


@pytest.mark.parametrize("packed", [False, True])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    content = zstandard.ZstdCompressor().compress(CONTENT) if packed else CONTENT
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    with Opened("-") as capture:
        columns = whole(capture)
        assert contents(capture, columns) == [p.data for p in PACKETS]
        assert capture.files.file == "-"


def test_named_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(CONTENT,))
    writer.start()
    with Opened(pipe) as capture:
        assert len(whole(capture)["time"]) == len(PACKETS)
    writer.join()


def test_compression_libraries_are_loaded_when_needed_only(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(CONTENT)
    loaded = "print(*{'zstandard', 'lz4', 'dpkt'} & set(sys.modules))"
    code = f"import sys; from tests.capture.reading import Opened; Opened(sys.argv[1]); {loaded}"
    run = subprocess.run([sys.executable, "-c", code, tmp_path / "x"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not run.stdout.split()


def test_files_of_windows_are_refused_with_what_converts_them(tmp_path: Path) -> None:
    """The first buffer of a trace log, as ntwmi.h has it: 64 KiB, of which 0x278 bytes are used."""
    header = struct.pack("<IIIiqqqHHIIHH16x", 1 << 16, 0x278, 0x278, 0, 0, 0, 0, 0, 3, 0, 0x278, 0x21, 4)
    assert len(header) == 72
    path = tmp_path / "trace"
    path.write_bytes(header + bytes(1000))
    assert refusal(path).startswith(f"{path}: an event trace log of Windows, not a capture: pktmon etl2pcap converts")
    assert "etl2pcapng" in refusal(path)
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert "an event trace log of Windows inside gzip" in refusal(path)
    named = tmp_path / "PktMon.ETL"
    named.write_bytes(b"cut")
    assert "pktmon etl2pcap" in refusal(named)
    path.write_bytes(CONTENT.decode("cp437").encode("utf-16"))  # dumpcap -w - > trace, in Windows PowerShell
    assert "text in UTF-16" in refusal(path)
