"""Test copies of captures with packet comments: tshark opens them, and their blocks equal those of the input."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import wiredoctor
from tests.capture.files import Packet, block, enhanced, interface, obsolete, option, section, simple
from tests.support.analysis import analyze_bytes
from tests.support.needs import needs, skip_without
from tests.support.recordings import find_recording
from tests.support.sweeps import SLOW, sweep
from wiredoctor import Report
from wiredoctor.capture import Interface
from wiredoctor.capture.pcapng import metadata, write
from wiredoctor.cli.app import application
from wiredoctor.engine import copying
from wiredoctor.report.packets import pcapng

tshark = needs("tshark")

FIELDS = ("frame.number", "frame.time_epoch", "frame.len", "frame.cap_len", "frame.encap_type", "tcp.stream")


def annotated(report: Report, only: bool = False) -> bytes:
    out = io.BytesIO()
    pcapng.write(report, out, only_findings=only)
    return out.getvalue()


def read(path: Path, *options: str) -> str:
    return subprocess.run(["tshark", "-n", "-r", path, *options], capture_output=True, text=True, check=False).stdout


def fields(path: Path) -> list[list[str]]:
    words = [word for name in FIELDS for word in ("-e", name)]
    return [line.split("\t") for line in read(path, "-T", "fields", *words).splitlines()]


def packet_bytes(path: Path) -> str:
    return hashlib.sha256(read(path, "-x").encode()).hexdigest()


def commented(path: Path) -> dict[int, str]:
    """Frame -> its comments, as Wireshark has them."""
    lines = read(path, "-Y", "frame.comment", "-T", "fields", "-e", "frame.number", "-e", "frame.comment").splitlines()
    return {int(frame): text for frame, _, text in (line.partition("\t") for line in lines)}


def commented_fields(copy: Path, original: list[list[str]]) -> dict[int, str]:
    """Frame -> its comments, of a copy whose packets are those of the original."""
    words = [word for name in (*FIELDS, "frame.comment") for word in ("-e", name)]
    lines = [line.split("\t", len(FIELDS)) for line in read(copy, "-T", "fields", *words).splitlines()]
    assert [line[: len(FIELDS)] for line in lines] == original
    return {int(line[0]): line[-1] for line in lines if line[-1]}


def blocks(data: bytes, order: str = "<") -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from(order + "II", data, at)
        if kind == 0x0A0D0D0A:
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            kind, length = struct.unpack_from(order + "II", data, at)
        assert struct.unpack_from(order + "I", data, at + length - 4) == (length,)
        yield kind, data[at : at + length]
        at += length


@SLOW
def test_the_same_findings_frames_and_bytes_are_seen_by_tshark(tmp_path: Path) -> None:
    """Of a pcap file of microseconds, a pcapng file of nanoseconds, one that is compressed, and one cut off in a packet."""
    skip_without("tshark")
    race = find_recording("behind-nginx-race.pcap").read_bytes()
    cut, packed = tmp_path / "c\x1bu\nt.pcap", tmp_path / "packed.pcap.gz"
    cut.write_bytes(race[:-31])
    packed.write_bytes(gzip.compress(find_recording("behind-nginx-events-held.pcap").read_bytes()))
    for path in (find_recording("client-sees-head-body-split.pcapng"), find_recording("behind-nginx-race.pcap"), cut, packed):
        report = wiredoctor.analyze(path, keep=True)
        assert report.findings
        copy = tmp_path / "copy.pcapng"
        copy.write_bytes(annotated(report))
        comments = commented_fields(copy, fields(path))
        if path.parent == tmp_path:
            # those of captures/ are held against the blocks of their copies (tests/captures/test_formats.py)
            assert packet_bytes(copy) == packet_bytes(path)
        assert set(comments) == {e.frame for f in report.findings for e in f.evidence}
        for number, finding in enumerate(report.findings, start=1):
            assert finding.number == number
            for evidence in finding.evidence:
                assert f"wiredoctor finding {number}, {finding.severity}: {finding.rule}" in comments[evidence.frame]
                assert evidence.note in comments[evidence.frame]
            if finding.evidence:
                assert finding.remedy in comments[finding.evidence[0].frame]
        again = wiredoctor.analyze(copy)
        kept = [f for f in report.findings if f.rule != "damaged-file"]
        assert [(f.rule, f.evidence, f.delay) for f in again.findings] == [(f.rule, f.evidence, f.delay) for f in kept]


@tshark
def test_wireshark_shows_a_comment_and_expert_information(tmp_path: Path) -> None:
    copy = tmp_path / "copy.pcapng"
    copy.write_bytes(annotated(wiredoctor.analyze(find_recording("behind-nginx-race.pcap"), keep=True)))
    page = read(copy, "-V", "-Y", "frame.number == 17")
    assert "Packet comments\n    wiredoctor finding 1, error: keep-alive-race (race): the request, after" in page
    assert "[Severity level: Comment]" in page


def sections(order: str) -> bytes:
    """Two sections with all kinds of blocks; the packets in them are those of a capture with a finding."""
    race = find_recording("behind-nginx-race.pcap").read_bytes()
    packets: list[Packet] = []
    at = 24
    while at < len(race):
        seconds, fraction, captured, length = struct.unpack_from("<IIII", race, at)
        packets.append(Packet(seconds * 10**6 + fraction, race[at + 16 : at + 16 + captured], length))
        at += 16 + captured
    (link,) = struct.unpack_from("<I", race, 20)
    comment = option(order, 1, b"somebody's remark") + option(order, 2, struct.pack(order + "I", 1)) + bytes(4)
    names = block(order, 4, struct.pack(order + "HH", 1, 9) + b"\x0a\0\0\1a.bc\0" + bytes(3) + bytes(4))
    secrets = block(order, 10, struct.pack(order + "II", 0x544C534B, 5) + b"abcde")
    custom = block(order, 0x0BAD, struct.pack(order + "I", 32473) + b"ours")
    statistics = block(order, 5, struct.pack(order + "III", 0, 1, 2) + option(order, 4, bytes(8)) + bytes(4))
    head = section(order)[:16] + struct.pack(order + "q", 100) + section(order)[24:]
    out = [head, interface(order, link, name="uplink"), names, secrets]
    for number, packet in enumerate(packets):
        made = enhanced(order, packet) if number % 5 else obsolete(order, packet)
        if number == 16:
            made = block(order, 6, made[8:-4] + comment)
        if number == 12:
            out += [custom, statistics, section("<" if order == ">" else ">"), section(order), interface(order, link)]
        out.append(made)
    return b"".join([*out, statistics])


@pytest.mark.slow
@pytest.mark.parametrize("order", sweep("<>", {">"}.__contains__))
def test_blocks_of_all_kinds_stay_as_they_are(tmp_path: Path, order: str) -> None:
    path = tmp_path / "sections.pcapng"
    report = analyze_bytes(path, sections(order), keep=True)
    assert [f.rule for f in report.findings] == ["keep-alive-race", "gateway-error"]
    before, after = [*blocks(path.read_bytes())], [*blocks(annotated(report))]
    assert [kind for kind, _ in before] == [kind for kind, _ in after]
    changed = [place for place, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
    frames = [place for place, (kind, _) in enumerate(before) if kind in (2, 6, 0x0BAD)]
    assert {frames.index(place) + 1 for place in changed if before[place][0] != 0x0A0D0D0A} == {
        e.frame for f in report.findings for e in f.evidence
    }
    for place in changed:
        (_, old), (kind, new) = before[place], after[place]
        if kind == 0x0A0D0D0A:
            assert new[16:24] == b"\xff" * 8
        else:
            assert new[8 : len(old) - 8] == old[8:-8]
            assert b"wiredoctor finding " in new
    remarked = next(new for _, new in after if b"somebody's remark" in new)
    assert remarked.index(b"somebody's remark") < remarked.index(b"wiredoctor finding")


@tshark
@pytest.mark.slow
@pytest.mark.parametrize("order", sweep("<>", {">"}.__contains__))
def test_tshark_sees_blocks_of_all_kinds_as_before(tmp_path: Path, order: str) -> None:
    path, copy = tmp_path / "sections.pcapng", tmp_path / "copy.pcapng"
    copy.write_bytes(annotated(analyze_bytes(path, sections(order), keep=True)))
    assert fields(copy) == fields(path)
    assert packet_bytes(copy) == packet_bytes(path)
    assert any("somebody's remark,wiredoctor finding 1" in text for text in commented(copy).values())


def test_packets_without_room_for_a_comment_are_copied() -> None:
    one = simple("<", Packet(0, b"abc", 3))
    assert write.with_comments(one, "<", 3, ["x"]) == one
    broken = enhanced("<", Packet(0, b"abcd", 4))
    broken = block("<", 6, broken[8:-4] + b"\1\0\xff\xff")
    made = write.with_comments(broken, "<", 6, ["x"])
    assert made[32:40] == b"\1\0\1\0x\0\0\0"


def test_a_comment_is_cut_between_characters() -> None:
    assert write.comment("ä" * 40_000)[1].decode() == "ä" * 32_767
    assert write.comment("\ud800")[1] == b"?"
    many = write.with_comments(enhanced("<", Packet(0, b"", 0)), "<", 6, ["y" * 60_000] * 300)
    assert len(many) < 16 << 20


def test_files_of_a_rotation_are_put_together_and_merged_ones_woven(tmp_path: Path) -> None:
    whole = sections("<")
    parts = list(blocks(whole))
    second = next(place for place, (kind, _) in enumerate(parts) if kind == 0x0A0D0D0A and place)
    files = [tmp_path / f"trace_0000{n}_2026010100000{n}.pcapng" for n in (1, 2)]
    for file, some in zip(files, (parts[:second], parts[second:]), strict=True):
        file.write_bytes(b"".join(data for _, data in some))
    report = wiredoctor.analyze(*files, keep=True)
    assert [kind for kind, _ in blocks(annotated(report))] == [kind for kind, _ in parts]
    merged = wiredoctor.analyze(find_recording("behind-nginx-race.pcap"), files[0], merge=True, keep=True)
    again = analyze_bytes(tmp_path / "merged.pcapng", annotated(merged))
    assert again.captures[0].packets == merged.captures[0].packets
    assert again.captures[0].first_time == merged.captures[0].first_time
    assert [[e[:3] for e in f.evidence] for f in again.findings] == [[e[:3] for e in f.evidence] for f in merged.findings]


def test_merged_files_keep_their_counts_of_dropped_packets(tmp_path: Path) -> None:
    path, copy = tmp_path / "lossy.pcapng", tmp_path / "merged.pcapng"
    path.write_bytes(sections("<") + write.statistics(0, 0, 7, 90, 5, 9))
    merged = wiredoctor.analyze(path, find_recording("behind-nginx-race.pcap"), merge=True, keep=True)
    again = analyze_bytes(copy, annotated(merged), keep=True)
    [one], [other] = merged.packets.values(), again.packets.values()
    assert merged.captures[0].dropped == again.captures[0].dropped == 7
    assert other.drops() == one.drops() != []


@pytest.mark.parametrize("order", "<>")
def test_names_and_secrets_of_woven_files_are_kept(tmp_path: Path, order: str) -> None:
    """As they would stand in a little-endian file; of a damaged one those in front of the damage."""
    path, broken = tmp_path / "sections.pcapng", tmp_path / "broken.pcapng"
    path.write_bytes(sections(order))
    broken.write_bytes(sections(order) + block(order, 10, b"x" * 40)[:-8])
    merged = wiredoctor.analyze(path, find_recording("behind-nginx-race.pcap"), broken, merge=True, keep=True)
    wanted = [data for kind, data in blocks(sections("<")) if kind in (4, 10)]
    made = [*blocks(annotated(merged))]
    assert [data for kind, data in made if kind in (4, 10)] == 2 * wanted
    assert [kind for kind, _ in made[:6]] == [0x0A0D0D0A, 4, 10, 4, 10, 1]


@pytest.mark.parametrize("wrong", [b"", bytes(3), b"\0\1\0\x09abcd", struct.pack(">II", 1, 9) + b"abcd"])
def test_what_is_not_laid_out_as_names_or_secrets_is_not_turned(wrong: bytes) -> None:
    assert metadata.to_little_endian(block(">", 10, wrong), ">") == b""


@SLOW
@tshark
@pytest.mark.parametrize(
    "name", sweep(["client-sees-head-body-split.pcapng", "behind-nginx-race.pcap"], "behind-nginx-race.pcap".__eq__)
)
def test_only_what_is_concerned(tmp_path: Path, name: str) -> None:
    report = wiredoctor.analyze(find_recording(name), keep=True)
    report.findings = report.findings[:1]
    [finding] = report.findings
    copy = tmp_path / "copy.pcapng"
    copy.write_bytes(annotated(report, only=True))
    whole, some = fields(find_recording(name)), fields(copy)
    expected = [line[1:5] for line in whole if line[5] == str(finding.connection)]
    assert [line[1:5] for line in some] == expected
    texts = " ".join(commented(copy).values())
    assert all(f"wiredoctor: frame {e.frame} of the whole capture" in texts for e in finding.evidence)
    assert [f.delay for f in wiredoctor.analyze(copy).findings if f.rule == finding.rule][:1] == [finding.delay]


def test_times_before_1970_and_the_frame_check_sequence(tmp_path: Path) -> None:
    made = write.interface(Interface(1), seconds=-5, fcs=32)
    report = analyze_bytes(tmp_path / "early.pcapng", write.section("x") + made + write.packet(0, 1, b"ab", 2))
    assert report.captures[0].first_time == "1969-12-31T23:59:55.000000001Z"
    assert option("<", 13, b"\x20") in made


def test_a_long_capture_is_copied_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "PIECE", 50)
    monkeypatch.setattr(metadata, "_PIECE", 50)
    path = find_recording("client-sees-head-body-split.pcapng")
    report = wiredoctor.analyze(path, keep=True)
    in_pieces = annotated(report)
    monkeypatch.undo()
    assert in_pieces == annotated(report)


def run(*words: object) -> Result:
    return CliRunner().invoke(application(["analyze"]), ["analyze", "-q", *map(str, words)])


def test_what_the_command_line_refuses(tmp_path: Path) -> None:
    one, other = tmp_path / "one.pcapng", tmp_path / "other.pcap"
    one.write_bytes(sections("<"))
    other.write_bytes(find_recording("behind-nginx-race.pcap").read_bytes())
    before = one.read_bytes()
    several = run(one, other, "-o", tmp_path / "copy.pcapng")
    assert (several.exit_code, several.stdout) == (2, "")
    assert "copies exactly one capture, not 2: name one of them, or add --merge" in several.stderr
    for words in ([tmp_path, "--merge", "-o", one], [one, "-o", one]):
        over = run(*words)
        assert (over.exit_code, over.stdout) == (2, "")
        assert "would overwrite an input capture" in over.stderr
    assert one.read_bytes() == before
    assert "--only-findings applies to copies of packets" in run(one, "--only-findings").stderr
    done = run(tmp_path, "--merge", "-o", tmp_path / "copy.pcapng", "--only-findings")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "copy.pcapng").stat().st_size > 1000
