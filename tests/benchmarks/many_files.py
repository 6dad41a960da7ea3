"""Time `wiredoctor analyze` on one capture as a single file, and cut into a rotation of 1,500 files of 300 kB, plain and gzip.

    python tests/benchmarks/many_files.py [CAPTURE.pcap] [--files 1500] [--size 300000] [--repeat 3]

CPU seconds of one process, with `ulimit -n 256`: the rotation must cost at most 1 ms of CPU a file more than the
single file. Without CAPTURE.pcap the recording `dense` of speed.py is cut. Needs twice its size in the temporary folder.
"""

from __future__ import annotations

import argparse
import gzip
import os
import resource
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from speed import capture

HEADER, RECORD = 24, 16
DESCRIPTORS = 256


def cut(source: Path, folder: Path, files: int, size: int) -> Path:
    """Write the beginning of a pcap file as a single file, which is returned, and as so many files of about `size` bytes."""
    whole = folder / "whole.pcap"
    (folder / "plain").mkdir()
    with source.open("rb") as content, whole.open("wb") as single:
        header = content.read(HEADER)
        single.write(header)
        for number in range(files):
            part = bytearray()
            while len(part) < size - HEADER and (record := content.read(RECORD)):
                part += record + content.read(struct.unpack_from("<I", record, 8)[0])
            if not part:
                raise SystemExit(f"{source} has only {number} files of {size} bytes")
            single.write(part)
            (folder / "plain" / f"trace.pcap{number or ''}").write_bytes(header + part)
    return whole


def compress(plain: Path, folder: Path) -> Path:
    """Write the files of a folder with gzip into another."""
    folder.mkdir()
    for path in plain.iterdir():
        (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
    return folder


def cpu(path: Path, *words: str) -> float:
    """Return the CPU seconds of an analysis."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "wiredoctor", "analyze", str(path), "--format", "json", "--jobs", "1", *words]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))

    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False, preexec_fn=limit)
    if done.returncode or done.stderr:
        raise SystemExit(f"{path}: exit code {done.returncode}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture", nargs="?", type=Path)
    parser.add_argument("--files", type=int, default=1_500)
    parser.add_argument("--size", type=int, default=300_000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    measure(options.capture or capture("dense"), options.files, options.size, options.repeat)


def measure(source: Path, files: int, size: int, repeat: int) -> dict[str, float]:
    """Print the medians of CPU seconds, and return how many milliseconds a file costs in each form."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = cut(source, folder, files, size)
        packed = compress(folder / "plain", folder / "gzip")
        (folder / "whole.pcap.gz").write_bytes(gzip.compress(whole.read_bytes(), 1))
        rows = (
            ("one file", whole, ()),
            ("rotation", folder / "plain", ()),
            ("--merge", folder / "plain", ("--merge",)),
            ("one file, gzip", folder / "whole.pcap.gz", ()),
            ("rotation, gzip", packed, ()),
        )
        took: dict[str, list[float]] = {label: [] for label, _, _ in rows}
        for _ in range(repeat):
            for label, path, words in rows:
                took[label].append(cpu(path, *words))
        print(f"{files:,} files, {os.path.getsize(whole) / 1e6:,.0f} MB; CPU seconds, medians of {repeat}")
        each: dict[str, float] = {}
        for label, _, _ in rows:
            single = median(took["one file, gzip" if "gzip" in label else "one file"])
            value = median(took[label])
            each[label] = (value - single) / files * 1000
            print(f"  {label:15} {value:7.2f} s  {each[label]:+.2f} ms a file")
        return each


if __name__ == "__main__":
    main()
