"""What the tests of live captures share."""

from math import inf

import pytest

from wiredoctor.live import quota


@pytest.fixture(autouse=True)
def _looks_have_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine, a look would leave work to the next one, which comes with the next packet here."""
    monkeypatch.setattr(quota, "LOOK", inf)
