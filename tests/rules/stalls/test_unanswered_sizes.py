"""unanswered names the size of the segments as a possibility if no segment of that size was ever acknowledged."""

from __future__ import annotations

from pathlib import Path

import pytest

from wiredoctor.testing import findings, ladders_in

LADDERS = dict(ladders_in(Path(__file__).with_name("unanswered.txt")))


def the_ladder(words: str) -> str:
    [text] = [text for title, text in LADDERS.items() if words in title]
    return text


@pytest.mark.parametrize(
    ("words", "size"),
    [
        ("no full segment after it, which may be a matter of size", "has 1,460 bytes or more, and the largest segment that was"),
        ("the rest of a response whose beginning was acknowledged", ""),
        ("three copies are enough over three seconds", ""),
        ("full ones behind it arrive", ""),
        ("it repeats its SYN-ACK, and the client gives up", ""),
    ],
)
def test_size(words: str, size: str) -> None:
    [finding] = findings(the_ladder(words))
    assert ("path MTU black hole" in finding.message) is ("ping -M do" in finding.remedy) is bool(size)
    assert size in finding.message


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("which uses SYN cookies, does not repeat its SYN-ACK", "but its SYN-ACK: the path broke, the server is gone, or its"),
        ("it repeats its SYN-ACK, and the client gives up", "is alive: it sends its SYN-ACK again"),
        ("three copies are enough over three seconds", "or its listen queue is full"),
        ("the rest of a response whose beginning was acknowledged", ""),
    ],
)
def test_a_listen_queue_that_may_be_full(words: str, told: str) -> None:
    [finding] = findings(the_ladder(words))
    assert ("listen queue" in finding.message) is ("ss -ltn" in finding.remedy) is bool(told)
    assert told in finding.message


def test_a_path_that_is_broken_in_one_direction() -> None:
    [finding] = [one for one in findings(the_ladder("the client's FIN acknowledges no copy")) if one.rule == "unanswered"]
    assert "The client is alive: 3.9 s after the first copy" in finding.message
    assert "only the path from the server to the client is broken" in finding.message
