"""Users of a load test: locust -f locustfile.py."""

from __future__ import annotations

from locust import HttpUser, between, task


class Visitor(HttpUser):
    """Asks for a page now and then."""

    wait_time = between(0.1, 0.6)

    @task(3)
    def small(self) -> None:
        self.client.get("/small")

    @task
    def late(self) -> None:
        self.client.get("/late")
