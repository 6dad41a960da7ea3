"""Test what keep-alive-race says about the reason for a close, 5 s after the previous response."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rules.frames import MS, S
from wiredoctor.rules.lifetime.keep_alive_race import Facts
from wiredoctor.rules.shared.race_explanations import Explanation
from wiredoctor.rules.shared.race_words import explanation_words

RACE: dict[str, Any] = {
    **dict.fromkeys(Facts._fields),
    **{"kind": "race", "warned": False, "idle_at_server": 5 * S, "later": 2 * S},
}
TIMEOUT = Explanation("timeout", 5 * S, "sharp", 5 * S, 5 * S, 3)
RANGE = Explanation("", 5 * S, low=5 * S, high=6 * S)


@pytest.mark.parametrize(
    ("why", "sentence"),
    [
        (Explanation("soon", 5 * S, high=20 * MS, closes=12), "12 of its closes came within 20 ms of the previous response, and"),
        (Explanation("soon", 5 * S, high=5 * S, closes=1234), "(1,234 of its closes came within 5 s of the previous response)."),
        (TIMEOUT._replace(announced=5), "Its idle timeout is 5 s, learned from 3 closes."),
        (
            TIMEOUT._replace(reason="another", how="announced", announced=5),
            "not its idle timeout, which is 5 s, announced: ",
        ),
        (
            TIMEOUT._replace(reason="paused", number=4),
            "for 2 s it sent nothing on any connection, while",
        ),
        (Explanation("stopped", 5 * S), "a process of the server ended then."),
        (Explanation("stopped", 5 * S, number=1), "ended then (it also closed another idle connection)."),
        (
            Explanation("stopped", 5 * S, number=2, cut=1),
            "(it also closed 2 other connections, all idle; it cut off a response",
        ),
        (Explanation("stopped", 5 * S, cut=2, refused=3), "(it cut off 2 responses or tunnels; it refused 3 SYNs after that)."),
        (
            RANGE._replace(reason="together", number=2),
            "it also closed 2 other connections after 5 s to 6 s idle: a process",
        ),
        (RANGE._replace(reason="together", number=1, high=5 * S), "it also closed another connection after 5 s idle: a process"),
        (
            RANGE._replace(reason="intervals"),
            "similar idle times (5 s to 6 s), but nearly always as a client sent",
        ),
        (Explanation("similar", 5 * S, number=1), "a request was answered after similar idle times. A process of the server"),
        (Explanation("longer", 5 * S, number=7), "7 requests were answered after longer idle times. A process of the server"),
        (Explanation("several", 5 * S, number=3), "It also closed 3 other connections after the same idle time: a process"),
        (Explanation("single", 5 * S, announced=5), "its idle timeout, announced: Keep-Alive: timeout=5."),
        (Explanation("single", 5 * S, announced=60), "although it had announced 60 s."),
    ],
)
def test_each_reason_is_a_sentence(why: Explanation, sentence: str) -> None:
    facts: dict[str, Any] = {**RACE, "explanation": why._asdict()}
    told = explanation_words(Facts(**facts))
    assert (told["closed_after"], told["limit"]) == ("The server closed its end ", 5 * S)
    assert told["limit_means"].startswith(" after the previous response")
    assert sentence in told["limit_means"]
