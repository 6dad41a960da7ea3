"""Plugin of pytest that prints each case with what its kind depends on: `-p tests.power.listing`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


class Listing:
    """Print CASE, whether it is slow, whether only because a quick run tries a third, whether it generates input, and its id."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Iterator[None]:
        slow = {item.nodeid for item in items if item.get_closest_marker("slow")}
        everything = [*items]
        yield
        for item in everything:
            is_slow = item.get_closest_marker("slow") is not None
            generates = bool(getattr(getattr(item, "obj", None), "is_hypothesis_test", False))
            print(f"CASE {is_slow:d} {item.nodeid not in slow:d} {generates:d} {item.nodeid}")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Listing())
