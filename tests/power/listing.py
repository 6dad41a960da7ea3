"""Plugin of pytest that prints each case with what its kind depends on: `-p tests.power.listing`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


class Listing:
    """Print CASE, whether it is slow, whether only because a quick run tries a sixth, whether it generates input, and its id."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Iterator[None]:
        everything = [*items]
        yield
        for item in everything:
            slow = item.get_closest_marker("slow")
            generates = bool(getattr(getattr(item, "obj", None), "is_hypothesis_test", False))
            print(f"CASE {slow is not None:d} {is_thinned(slow):d} {generates:d} {item.nodeid}")


def is_thinned(slow: pytest.Mark | None) -> bool:
    """Return whether a case has the mark `slow` only because a quick run tries a sixth of such cases."""
    return slow is not None and bool(slow.kwargs.get("thinned"))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Listing())
