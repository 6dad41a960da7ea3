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


def _pool(count: int, apart: float, left: float) -> str:
    """Return connections of a pool, opened one after the other and closed by the server after 1 s, by the pool `left` s later."""
    return "\n".join(
        f"""\
  connection {number}, start {apart * number:.3f}, client 10.0.0.1:{41000 + number}, server 10.0.0.2:80
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.020  >  P.   "GET /item/{number} HTTP/1.1\\r\\nHost: shop.example\\r\\n\\r\\n"
  0.040  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"
  0.040  >  .
  1.050  <  F.
  1.070  >  .
  {1.05 + left:.3f}  >  F.
  {1.06 + left:.3f}  <  ."""
        for number in range(1, count + 1)
    )


@pytest.mark.parametrize(("count", "apart", "speaks"), [(12, 0.07, False), (24, 0.2, True)])
def test_a_pool_that_notices_a_close_late_leaves_as_many_connections_as_it_uses(count: int, apart: float, speaks: bool) -> None:
    text = _pool(count, apart, 3.0)
    assert any(one.rule == "unclosed-connections" for one in findings(text)) is speaks
