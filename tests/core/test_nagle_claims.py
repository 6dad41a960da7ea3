"""One ACK that covers two small segments left after the second: nothing released that, and Nagle's algorithm is off."""

from __future__ import annotations

import pytest

from wiredoctor.core.tcp.nagle import is_off, settle_claims
from wiredoctor.core.tcp.segment import MILLISECOND
from wiredoctor.core.tcp.waits import Nagle


@pytest.mark.parametrize(("acknowledged", "off"), [(10, False), (19, False), (20, True)])
def test_an_ack_within_a_millisecond_counts_as_swapped_unless_it_covers_both(acknowledged: int, off: bool) -> None:
    nagle = Nagle()
    nagle.claim_time, nagle.claim_end, nagle.claim_next_end = 0, 10, 20
    settle_claims(nagle, acknowledged, MILLISECOND // 50)
    assert is_off(nagle, 10 * MILLISECOND) is off


def test_without_an_ack_a_millisecond_decides() -> None:
    nagle = Nagle()
    nagle.claim_time, nagle.claim_end, nagle.claim_next_end = 0, 10, 20
    settle_claims(nagle, 0, MILLISECOND)
    assert not is_off(nagle, 10 * MILLISECOND)
    settle_claims(nagle, 0, MILLISECOND + 1)
    assert is_off(nagle, 10 * MILLISECOND)
