"""The collection itself: small, private, and nothing without papers."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import dpkt

from tests.captures.papers import PATHS, read
from tests.support.recordings import CAPTURES

if TYPE_CHECKING:
    from pathlib import Path

ETHERNET, LINUX_SLL, LINUX_SLL2 = 1, 113, 276
LINK_LOCAL_MULTICAST = ipaddress.ip_network("ff02::/16")
PROTOCOL_AT = {ETHERNET: (12, 14), LINUX_SLL: (14, 16), LINUX_SLL2: (0, 20)}
"""Link type -> where its protocol field is, and where its payload begins (tcpdump.org/linktypes.html)."""

ADDRESSES_AT = {b"\x08\x00": (12, 4), b"\x86\xdd": (8, 16)}
"""Protocol -> where the two addresses begin, and how long each is (RFC 791, RFC 8200)."""


def test_there_are_captures() -> None:
    assert len(PATHS) >= 250


def test_many_captures_are_healthy() -> None:
    """Healthy: nothing is to be found, or only what nobody has to act on."""
    assert sum(all("severity" in find for find in read(path).finds) for path in PATHS) >= 100


def test_each_capture_has_papers_and_each_paper_a_capture() -> None:
    assert {path.stem for path in CAPTURES.rglob("*.toml")} == {path.stem for path in PATHS}
    assert len({path.stem for path in PATHS}) == len(PATHS)


def test_recordings_are_in_the_folders_of_their_families(lab: Any) -> None:
    assert [path.name for path in PATHS if path.parent.name != lab.folders.folder_of(read(path).content)] == []


def test_the_collection_is_small() -> None:
    assert sum(path.stat().st_size for path in PATHS) < 10_000_000


def test_papers_say_where_recordings_come_from() -> None:
    for path in PATHS:
        papers = read(path).content
        assert papers["at"] in ("client", "middle", "server", "proxy", "any"), path
        recorded = path.stem, path.stem.removesuffix(f"-{papers['at']}")
        assert papers["script"] in {f"captures/lab/record.py {name}" for name in recorded}, path
        assert papers["title"], path
        assert papers["story"].strip(), path
        assert papers["software"], path


def test_the_readme_lists_every_capture_with_its_title() -> None:
    """A line stands for all points of a conversation, with an asterisk for the point."""
    listed: list[tuple[str, str, str]] = []
    for line in "\n".join(page.read_text() for page in CAPTURES.rglob("README.md")).splitlines():
        if line.startswith("| `"):
            name, title, points, _ = line.removeprefix("| `").removesuffix(" |").split(" | ")
            listed += [(name.removesuffix("`").replace("*", point), title, point) for point in points.split(", ")]
    papers = {path: read(path).content for path in PATHS}
    assert sorted(listed) == sorted((path.name, content["title"], content["at"]) for path, content in papers.items())


def test_the_readme_counts_the_recordings_of_each_software() -> None:
    """Its second table: name without a version, recordings, and how many of these have nothing but notes."""
    _, _, below = (CAPTURES / "README.md").read_text().partition("| software |")
    rows = [row.strip("| ").split(" | ") for row in below.partition("\n\n")[0].splitlines()[2:]]
    all_, healthy = Counter[str](), Counter[str]()
    for papers in map(read, PATHS):
        names = [re.sub(r" [0-9.]+", "", name, count=1) for name in papers.content["software"]]
        all_.update(names)
        healthy.update(names if all("severity" in find for find in papers.finds) else [])
    assert {name: (int(many), int(well)) for name, many, well in rows} == {name: (all_[name], healthy[name]) for name in all_}


def addresses_in(path: Path) -> set[bytes]:
    """Return the source and destination addresses of all packets."""
    found: set[bytes] = set()
    with path.open("rb") as file:
        reader = dpkt.pcap.UniversalReader(file)
        protocol_at, payload_at = PROTOCOL_AT[reader.datalink()]
        for _, packet in reader:
            start, length = ADDRESSES_AT[bytes(packet[protocol_at : protocol_at + 2])]
            found |= {bytes(packet[begin : begin + length]) for begin in (payload_at + start, payload_at + start + length)}
    return found


def test_only_private_addresses() -> None:
    for path in PATHS:
        for address in map(ipaddress.ip_address, addresses_in(path)):
            # neighbors and routers of one link are looked for by multicast
            assert address.is_private or address in LINK_LOCAL_MULTICAST, path
