"""Test at the server what takes longer there than at the client: the way there and back is no time in which a server waits."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sweeps import WHOLE
from wiredoctor.testing import check, ladders_in

LADDERS = dict(ladders_in(Path(__file__).with_name("lingering_close.txt")))


@WHOLE
@pytest.mark.parametrize("title", ["silent: the client closes within five seconds", "speaks: the client closes a little later"])
def test_the_time_is_that_of_the_client(title: str) -> None:
    check(LADDERS[title], "server")
