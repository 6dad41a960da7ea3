"""unclosed-connections needs both directions: without one of them, its closes are not known."""

from __future__ import annotations

from pathlib import Path

import pytest

from wiredoctor.testing import findings, ladders_in

LADDERS = dict(ladders_in(Path(__file__).with_name("unclosed_connections.txt")))


@pytest.mark.parametrize(("left_out", "speaks"), [(None, True), ("  >  ", False)])
def test_only_connections_of_which_both_directions_were_captured_are_judged(left_out: str | None, speaks: bool) -> None:
    lines = LADDERS["speaks: the client never closes after the server's FIN"].splitlines()
    text = "\n".join(line for line in lines if left_out is None or left_out not in line)
    assert any(one.rule == "unclosed-connections" for one in findings(text)) is speaks
