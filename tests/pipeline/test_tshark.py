"""The exchanges of recorded captures against an independent reader: tshark, and, where it is there, a corpus of real captures."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from bisect import bisect_left
from collections import Counter, defaultdict
from functools import cache
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

import pytest

import wiredoctor
from tests.captures.papers import EACH_RULE, ONE_EACH, read
from tests.http.talk import RULES
from tests.support.needs import needs
from tests.support.sweeps import sweep
from wiredoctor.findings import Report
from wiredoctor.pipeline import CaptureError

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
SAMPLE, AGREEMENT = 60, 0.98

Messages = dict[int, tuple[Counter[tuple[str, str]], Counter[int]]]
"""By connection: requests (method, path) and status codes, interim ones included."""


def path_of(target: str) -> str:
    r"""A target up to its query; what is no printable ASCII is one sign, as readers write it in their own ways."""
    return re.sub(r"(?:\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\[0-7]{3}|[^\x21-\x7e])+", "~", target).split("?")[0]


def seen(report: Report) -> Messages:
    messages: Messages = defaultdict(lambda: (Counter(), Counter()))
    for row in report.exchanges.to_dicts():
        requests, statuses = messages[row["connection"]]
        if row["has_request"]:
            requests[row["request_method"], path_of(row["request_target"])] += 1
        statuses.update([*row["interim"], *([row["response_status"]] if row["has_response"] else [])])
    return messages


UNREAD = (
    *("snapped", "cut-off", "cut-short", "truncated", "resets", "gives-up", "refused-upload", "refuses-upload", "pipelined"),
    *("events-cut", "events-left", "path-dies", "reset-by-the-server", "window-of-32-kb", "deaf"),
    *("black-hole-server-closes", "black-hole-408", "black-hole-nothing-but-the-head"),
    *("ports-used-again", "no-final-crlf", "length-before-compression", "reset-for-an-end", "upload-canceled"),
    *("upload-without-end", "answers-cut"),
)
"""In the names of recordings that tshark does not read: bodies that are cut or cut off, pipelined HEADs, whose answers it
takes for longer than they are, and connections on used ports without SYNs, which it takes for one."""

COMPARED = [path for path in ONE_EACH if not any(word in path.stem for word in UNREAD)]


@cache
def tshark(quick: bool) -> dict[Path, Messages]:
    """What tshark sees in each of COMPARED, those of a quick run or the others, when it puts segments in order and reads whole
    bodies.

    It takes longer to start than to read, so it reads them one behind the other: the streams of each are numbered from the
    first that no recording before it had.
    """
    recordings = [path for path in COMPARED if (path in EACH_RULE) == quick]
    with tempfile.TemporaryDirectory() as folder:
        every = Path(folder) / "every.pcapng"
        subprocess.run(["mergecap", "-a", "-w", str(every), *map(str, recordings)], check=True, capture_output=True)
        lines = _fields(every)
    edges = [*accumulate(read(path).packets for path in recordings)]
    of_recordings: dict[Path, list[tuple[str, ...]]] = {path: [] for path in recordings}
    for frame, *told in lines:
        of_recordings[recordings[bisect_left(edges, int(frame))]].append(tuple(told))
    result: dict[Path, Messages] = {}
    streams = 0
    for path, rows in of_recordings.items():
        numbers = [int(number) for told in rows for number in told[0].split("\v")]
        assert not numbers or min(numbers) == streams, f"{path.stem}: a connection of two recordings"
        result[path] = _messages(rows, streams)
        streams = max([streams - 1, *numbers]) + 1
    return result


def _fields(path: Path) -> list[list[str]]:
    """Of each packet of TCP, without those that ICMP errors quote: frame, stream, methods, targets, status codes."""
    fields = ("frame.number", "tcp.stream", "http.request.method", "http.request.uri", "http.response.code")
    settings = ("tcp.reassemble_out_of_order:TRUE", "tcp.desegment_tcp_streams:TRUE", "http.desegment_body:TRUE")
    form = ("separator=/t", "occurrence=a", "aggregator=\v")
    command = ["tshark", "-r", str(path), "-Y", "tcp.stream && !icmp && !icmpv6", "-T", "fields"]
    command += [part for e in form for part in ("-E", e)]
    command += [part for s in settings for part in ("-o", s)] + [part for f in fields for part in ("-e", f)]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in told.stdout.split("\n") if line]


def _messages(rows: list[tuple[str, ...]], first: int) -> Messages:
    """Of the packets of a recording, whose streams are numbered from `first`."""
    messages: Messages = defaultdict(lambda: (Counter(), Counter()))
    for streams, methods, targets, codes in rows:
        if methods or codes:
            requests, statuses = messages[int(streams.split("\v")[0]) - first]
            requests.update((m, path_of(t)) for m, t in zip(methods.split("\v"), targets.split("\v"), strict=False) if m)
            statuses.update(int(code) for code in codes.split("\v") if code)
    return messages


def has_holes(report: Report) -> bool:
    """With a lost segment tshark's setting reads nothing behind it."""
    frame = report.exchanges
    return bool(frame["gap_before"].any() or frame["request_has_gap"].any() or frame["response_has_gap"].any())


@needs("tshark", "mergecap")
@pytest.mark.parametrize("path", sweep(COMPARED, EACH_RULE.__contains__), ids=lambda path: path.stem)
def test_recorded_captures(path: Path) -> None:
    report = wiredoctor.analyze(path, select=RULES, show_secrets=True)
    if not has_holes(report):
        assert dict(seen(report)) == dict(tshark(path in EACH_RULE)[path])


def oracle() -> list[dict[str, Any]]:
    """A sample of the corpus: captures with HTTP, the same ones in every run."""
    if not (CORPUS / "oracle.jsonl").exists():
        return []
    entries = [json.loads(line) for line in (CORPUS / "oracle.jsonl").read_text().splitlines()]
    some = [e for e in entries if (e["requests"] or e["responses"]) and "numbers" not in e and e["frames"] < 20_000]
    return Random(2).sample(some, SAMPLE)


def left_out(entry: dict[str, Any]) -> set[int]:
    """Streams where the oracle is unsure, wrong, or reads what is no HTTP/1 of the connection itself."""
    exceptions = json.loads((CORPUS / "exceptions.json").read_text()).get(entry["id"], {})
    if exceptions.get("streams") == "all":
        return {s for s, *_ in entry["requests"]} | {s for s, *_ in entry["responses"]}
    known = {*entry["unsure"], *entry["wrapped"], *entry["not_http"]}
    return {int(stream) for stream in known} | set(exceptions.get("streams", []))


@pytest.mark.skipif(not (CORPUS / "oracle.jsonl").exists(), reason="the corpus is not there")
def test_a_sample_of_real_captures() -> None:
    """Agreement: messages that both see, by messages that either sees."""
    both = either = 0
    differ: list[str] = []
    for entry in oracle():
        try:
            messages = seen(wiredoctor.analyze(CORPUS / "files" / entry["path"], select=RULES, show_secrets=True))
        except CaptureError:
            continue
        expected: Messages = defaultdict(lambda: (Counter(), Counter()))
        for stream, method, target, _ in entry["requests"]:
            expected[stream][0][method, path_of(target)] += 1
        for stream, status, _ in entry["responses"]:
            expected[stream][1][status] += 1
        for stream in (set(expected) | set(messages)) - left_out(entry):
            for mine, theirs in zip(messages[stream], expected[stream], strict=True):
                both += sum((mine & theirs).values())
                either += sum((mine | theirs).values())
                if mine != theirs:
                    differ.append(f"{entry['path']} {stream}: {mine - theirs} besides, {theirs - mine} missed")
    assert either > SAMPLE
    assert both >= AGREEMENT * either, differ
