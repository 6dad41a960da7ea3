"""Whatever valid exchanges are said, and however TCP cuts, repeats and shuffles them: exactly these are seen."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http import conversations
from tests.http.conversations import Spoken, conversation, duplicated, packets, shuffled
from tests.http.talk import analyzed, rows
from tests.support.sweeps import SLOW

if TYPE_CHECKING:
    from tests.ladders import Packet

SEEDS = st.integers(0, 2**32)
OFTEN = settings(max_examples=30, deadline=None)


def assert_seen(spoken: list[Spoken], sent: list[Packet], **how: Any) -> list[dict[str, Any]]:
    seen = rows(analyzed(sent, **how))
    names = list(spoken[0].seen)
    assert [{name: row[name] for name in names} for row in seen] == [s.seen for s in spoken]
    return seen


@SLOW
@given(SEEDS)
@OFTEN
def test_cut_anywhere(seed: int) -> None:
    spoken, flights = conversation(Random(seed))
    assert_seen(spoken, packets(flights))


@SLOW
@given(SEEDS, st.integers(1, 7))
@settings(max_examples=8, deadline=None)
def test_cut_anywhere_in_short_epochs(seed: int, epoch_packets: int) -> None:
    spoken, flights = conversation(Random(seed))
    assert_seen(spoken, packets(flights), epoch_packets=epoch_packets)


@SLOW
@given(SEEDS)
@OFTEN
def test_duplicated(seed: int) -> None:
    random = Random(seed)
    spoken, flights = conversation(random)
    assert_seen(spoken, duplicated(packets(flights), random))


@SLOW
@given(SEEDS)
@OFTEN
def test_shuffled_and_duplicated(seed: int) -> None:
    random = Random(seed)
    spoken, flights = conversation(random)
    assert_seen(spoken, duplicated(shuffled(packets(flights), random), random))


@SLOW
@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_without_a_handshake(seed: int) -> None:
    spoken, flights = conversation(Random(seed))
    assert_seen(spoken, packets(flights, handshake=False))


@SLOW
@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_a_capture_that_ends_early_lists_what_it_has(seed: int) -> None:
    """Cut off behind any packet: whole messages are whole, and no request is heard that was not said."""
    random = Random(seed)
    spoken, flights = conversation(random)
    sent = packets(flights)
    seen = rows(analyzed(sent[: random.randrange(1, len(sent))]))
    assert len(seen) <= len(spoken)
    for said, row in zip(spoken, seen, strict=False):
        if row["response_end_reason"] == "complete" and row["has_response"] and row["response_status"] >= 200:
            assert {n: row[n] for n in said.seen} == said.seen
        if row["has_request"] and row["request_end_reason"] == "complete":
            assert row["request_body_bytes"] == said.seen["request_body_bytes"]


def test_the_generator_knows_every_framing() -> None:
    """A generator that makes only one kind of thing would prove little."""
    made = [s for seed in range(100) for s in conversation(Random(seed))[0]]
    assert {s.seen["response_framing"] for s in made} == {"none", "content-length", "chunked", "close-delimited"}
    assert {s.seen["request_framing"] for s in made} == {"none", "content-length", "chunked"}
    assert any(s.seen["interim"] for s in made)
    assert conversations.TRAPS[0] in b"".join(s.response for s in made)
