"""A few inputs of each harness in every run of the tests; and the fuzzing itself: that it sees trouble, and tells it."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import pytest

from tests import icmp
from tests.capture import files
from tests.fuzzing import capturefile, corpora, found, guard, mutants, mutators, tokens
from tests.fuzzing.choices import Choices
from tests.fuzzing.guard import Broken, Trouble, must, tried
from tests.fuzzing.harnesses import HARNESSES
from tests.fuzzing.layers import checksum, find, repaired
from tests.ladders import ladder_packets, to_pcap
from tests.pipeline.ladders import FILES, together
from tests.support.recordings import find_recording
from tests.support.sweeps import SLOW
from wiredoctor.tables import SECOND
from wiredoctor.testing.wire import ACK, SYN, Packet, Peers

LADDER = to_pcap(ladder_packets(r"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
"""))  # fmt: skip


def said(trouble: Trouble | None) -> str:
    return "" if trouble is None else f"{trouble.where}\n{trouble.told}"


@pytest.mark.parametrize("name", ["decode", "tcp", "http", "parsers"])
def test_inputs_of_any_bytes(name: str) -> None:
    run, random = HARNESSES[name](), Random(f"smoke {name}")
    for _ in range(10):
        assert said(tried(run, random.randbytes(random.choice((10, 40, 120, 250))))) == ""


def test_every_parser() -> None:
    from tests.fuzzing.harnesses import parsers

    for data in parsers.seeds():
        assert said(tried(parsers.run, data)) == "", data[:40]


@SLOW
@pytest.mark.parametrize("name", ["capture", "core", "whole"])
def test_mutants_of_ladders(name: str) -> None:
    run, random = HARNESSES[name](), Random(f"smoke {name}")
    ladders = [to_pcap(together(file)) for file in random.sample(FILES, 6)]
    for data in ladders:
        changed, changes = mutators.mutate(data, random, ladders[0])
        assert said(tried(run, changed)) == "", changes


TALK = ladder_packets(r"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.500  >  P.   "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
  0.800  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"
  0.900  <  P.   "llo"
""")  # fmt: skip


def talk_with(*times: int) -> bytes:
    """A request, and two packets of its response at these times (ns), in this order in the file."""
    return to_pcap([*TALK[:-2], *(replace(packet, time=time) for packet, time in zip(TALK[-2:], times, strict=True))])


UNKNOWN = [
    files.Packet(seconds * 1_000_000, bytes([n]), 1) for n, seconds in enumerate((1_477_654_255, 3_956_124_671, 541_000_000))
]
"""Their times are so far apart that they are clipped. A finding is about the last two: in a file of their own they are clipped
otherwise."""

APPENDED = files.pcap([files.Packet(1_000_000 + 10_000 * n, bytes([n]), 1) for n in (5, 6, 7, 8, 0, 1, 2, 3)])
"""Two captures, the earlier one behind the later one: far from time order, so it is sorted."""

BEFORE_THE_FIRST = to_pcap(ladder_packets("""
  0.010  >  P.  100:113  ack 130
  0.020  <  P.  1:130    ack 113  snap 60
"""))  # fmt: skip


@SLOW
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(talk_with(SECOND, 2 * SECOND), id="an exchange"),
        pytest.param(talk_with(SECOND, SECOND * 6 // 10), id="a response that is a reversed range"),
        pytest.param(talk_with(1_700_000_000_123_456_789, 1_700_000_001 * SECOND), id="a wait of 54 years"),
        pytest.param(files.pcap(UNKNOWN, link_type=195), id="times far apart"),
        pytest.param(files.section("<") + files.block("<", 0xBAD, bytes(8)), id="a record of no interface"),
        pytest.param(APPENDED, id="captures that were appended"),
        pytest.param(BEFORE_THE_FIRST, id="a packet before the first, cut short"),
        pytest.param(icmp.capture("  0.000  >  S    mss 1460", icmp.Error(0.1, 1, 3, 13)), id="an ICMP error is evidence"),
    ],
)
def test_what_is_strange_and_no_trouble(data: bytes) -> None:
    from tests.fuzzing.harnesses import whole

    for thorough in range(3):
        assert said(tried(partial(whole.run, thorough=thorough), data)) == ""


def test_two_conversations_at_once_between_the_same_ends() -> None:
    """Their sequence numbers are half of all apart, so the data of one seems to repeat old data of the other."""
    from tests.fuzzing.harnesses.tcp import check

    one, other = (Peers("10.0.0.1:4000", "10.0.0.2:80", isn) for isn in ((0x7FFFFFF0, 0x80000000), (0, 0xFFFFFFFF)))
    packets = [
        Packet(one, 1, 0, SYN | ACK, 0, 1),
        Packet(other, 1, 1, SYN | ACK, 0, 1),
        Packet(one, 1, 2, ACK, 1461, 0, bytes(100)),
    ]
    check(packets, 1)


def test_mutants_through_the_core() -> None:
    """In one process; python -m tests.fuzzing mutants --harness core --jobs 1 reads more of them."""
    run = HARNESSES["core"]()
    for number in range(40):
        data, base, changes = mutants.mutant(1, number)
        if len(data) < 100_000:
            assert said(tried(run, data)) == "", (number, base.name, changes)


def test_packets_of_captures_as_input() -> None:
    from tests.fuzzing.harnesses.decode import run, seed

    file = capturefile.read(LADDER)
    assert file is not None
    packets = seed(file.packets)
    assert all(p.data in packets for p in file.packets)
    assert said(tried(run, packets)) == ""


def test_a_mutant_is_made_again() -> None:
    """The seed and its number say what the bytes are."""
    assert mutants.mutant(7, 3) == mutants.mutant(7, 3)
    assert mutants.mutant(7, 3)[0] != mutants.mutant(7, 4)[0]


@pytest.mark.parametrize("change", mutators.OF_PACKETS, ids=lambda change: change.__name__)
def test_every_change_of_packets_changes_something(change: mutators.OfPackets) -> None:
    file, other = capturefile.read(LADDER), capturefile.read(find_recording("aiohttp-aiohttp.pcap").read_bytes())
    assert file is not None
    made = {change(file, Random(seed), other).to_bytes() for seed in range(12)}
    assert made - {file.to_bytes()}


@pytest.mark.parametrize("change", mutators.OF_BYTES, ids=lambda change: change.__name__)
def test_every_change_of_bytes_changes_something(change: mutators.OfBytes) -> None:
    made: set[bytes] = set()
    for seed in range(12):
        data = bytearray(LADDER)
        change(data, Random(seed))
        made.add(bytes(data))
    assert made - {LADDER}


def test_a_file_is_put_together_as_it_was() -> None:
    file = capturefile.read(LADDER)
    assert file is not None
    assert file.to_bytes() == LADDER
    again = capturefile.read(capturefile.CaptureFile(file.packets, pcapng=True).to_bytes())
    assert again is not None
    assert [p.data for p in again.packets] == [p.data for p in file.packets]


def test_checksums_of_ladders_are_those_that_are_computed() -> None:
    file = capturefile.read(LADDER)
    assert file is not None
    for packet in file.packets:
        layers = find(1, packet.data)
        assert layers is not None
        data = bytearray(packet.data)
        repaired(data, layers)
        assert data[layers.tcp + 16 : layers.tcp + 18] == packet.data[layers.tcp + 16 : layers.tcp + 18]
        assert checksum(data[layers.ip : layers.tcp]) == 0


def test_choices_of_bytes() -> None:
    choices = Choices(b"\x05\x00\x07abc")
    assert (choices.byte(), choices.whole(2), choices.bytes(2), bool(choices)) == (5, 7, b"ab", True)
    assert (choices.one("xyz"), bool(choices), choices.byte(), choices.one("xyz")) == ("xyz"[ord("c") % 3], False, 0, "x")


def test_trouble_is_told_apart() -> None:
    def crash(data: bytes) -> None:
        raise KeyError(data)

    def hang(data: bytes) -> None:
        until = time.process_time() + 5
        while time.process_time() < until:
            pass

    def broken(data: bytes) -> None:
        must(not data, "there is nothing", data)

    kinds = [t.kind for t in (tried(crash, b"x"), tried(hang, b"x", 0.05), tried(broken, b"x")) if t is not None]
    assert kinds == ["crash", "hang", "invariant"]
    assert tried(broken, b"") is None
    with pytest.raises(Broken, match="there is nothing: b'x'"):
        broken(b"x")
    assert guard.peak_megabytes() > 1


def test_what_was_found_is_kept_once_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found, "FOLDER", tmp_path)
    trouble = Trouble("crash", "here", "a traceback")
    path, new = found.keep("http", b"long", trouble, "by hand")
    assert (new, found.harness_of(path), path.read_bytes()) == (True, "http", b"long")
    assert "by hand" in path.with_suffix(".txt").read_text()
    assert found.keep("http", b"tiny!", trouble) == (path, False)
    assert found.keep("http", b"s", trouble) == (path, False)
    assert path.read_bytes() == b"s"
    with pytest.raises(ValueError, match="--harness"):
        found.harness_of(tmp_path / "x.pcap")


def test_the_dictionary_is_one_of_libfuzzer() -> None:
    lines = tokens.dictionary().splitlines()
    assert all(line.startswith('"') and line.endswith('"') and line.isascii() and line.isprintable() for line in lines)
    assert '"Content-Length:\\x205"' in lines


def test_seeds_of_every_harness() -> None:
    assert all(any(corpora.seeds(name)) for name in ("tcp", "http", "parsers"))
