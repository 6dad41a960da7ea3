"""Test the words about packets that arrived damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from wiredoctor.testing import findings, ladders_in

FOLDER = Path(__file__).parent
TEXTS = {title: text for name in ("connect_retry", "connect_failed", "retransmission_stall", "unanswered")
         for title, text in ladders_in(FOLDER / f"{name}.txt")}  # fmt: skip


@pytest.mark.parametrize(
    ("title", "title_words", "message", "remedy"),
    [
        (
            "the first SYNs arrive with a wrong UDP checksum in their VXLAN tunnel, for 63 s",
            "Connecting took 63 s longer because packets of the handshake arrived damaged",
            "6 SYNs arrived with a wrong UDP checksum in the outer header of the tunnel, so the server discarded them",
            "ethtool -K vxlan.calico (or flannel.1) tx-checksum-ip-generic off",
        ),
        (
            "the first SYN-ACK arrives with a wrong TCP checksum",
            "packets of the handshake arrived damaged",
            "a SYN-ACK arrived with a wrong TCP checksum, so the client discarded it",
            "already damaged when they leave the server",
        ),
        (
            "a request arrives damaged twice, and its third copy is sound",
            "data of the client arrived damaged",
            "2 copies arrived with a wrong TCP checksum, so the server discarded it",
            "TcpInCsumErrors",
        ),
        (
            "a response arrives damaged, captured at the client",
            "data of the server arrived damaged",
            "a copy arrived with a wrong TCP checksum, so the client discarded it",
            "already damaged when they leave the server",
        ),
        (
            "all SYNs arrive damaged, and another connection of the client has correct checksums",
            "SYNs to 10.0.0.2:80 arrived damaged",
            "each copy has a wrong TCP checksum, so the server discards it",
            "Give clients a connect timeout",
        ),
        (
            "every copy of the request arrives damaged",
            "All 6 copies of the client's data arrived damaged",
            "Each has a wrong TCP checksum, so the server discards it",
            "already damaged when they leave the client",
        ),
    ],
)
def test_words(title: str, title_words: str, message: str, remedy: str) -> None:
    [one] = findings(TEXTS[f"speaks: {title}"])
    assert title_words in one.title
    assert message in one.message
    assert remedy in one.remedy
    assert one.side is None


def test_words_of_a_rewritten_capture() -> None:
    [one] = findings(TEXTS["speaks: the first SYN is lost, and an anonymizer left the checksums of all packets wrong"])
    assert "damaged" not in one.title + one.message
