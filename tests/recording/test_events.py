"""Events: a line each, and a reader that does not read holds nothing up."""

from __future__ import annotations

import json
import os
from typing import Any

from wiredoctor.recording.events import Events


def read(file: int) -> list[dict[str, Any]]:
    os.set_blocking(file, False)
    got = b""
    try:
        while data := os.read(file, 1 << 20):
            got += data
    except BlockingIOError:
        pass
    return [json.loads(line) for line in got.splitlines()]


def test_progress_is_merged_and_all_else_is_kept_while_nobody_reads() -> None:
    reader, writer = os.pipe()
    events = Events(writer)
    for number in range(20_000):
        events.progress(packets=number)
        if number % 1000 == 0:
            events.send_event("file", path=str(number))
    assert events.waiting
    got = read(reader)
    while events.waiting:
        events.send()
        got += read(reader)
    assert [e["path"] for e in got if e["event"] == "file"] == [str(number) for number in range(0, 20_000, 1000)]
    progress = [e["packets"] for e in got if e["event"] == "progress"]
    assert progress == sorted(progress)
    assert progress[-1] == 19_999
    assert len(progress) < 5000
    os.close(reader)
    os.close(writer)


def test_a_reader_that_is_gone_is_noticed() -> None:
    reader, writer = os.pipe()
    events = Events(writer)
    os.close(reader)
    events.send_event("note", text="a")
    assert events.closed
    assert not events.waiting
    events.finish(1)
    os.close(writer)


def test_a_line_is_a_line() -> None:
    reader, writer = os.pipe()
    Events(writer).send_event("note", text="two\nlines \udc80")
    os.close(writer)
    (line,) = os.read(reader, 1000).splitlines()
    assert json.loads(line)["text"] == "two\nlines \udc80"
    os.close(reader)
