"""The id of a request in several programs and their logs."""

from __future__ import annotations

import pytest

from tests.http.talk import exchanges

UUID = "7b2e9c1a-0d5f-4c2b-9a57-3f1f0c6d8e21"
AMAZON = "Root=1-67891233-abcdef012345678912345678;Sampled=1"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def ids(requests: list[list[str]], responses: list[list[str]] | None = None, *, cut: int = 0) -> list[str]:
    """The request ids of requests with these fields on one connection; `cut`: each head comes in two packets."""
    ladder, time = "", 0.01
    for number, fields in enumerate(requests):
        head = "GET / HTTP/1.1\\r\\nHost: a\\r\\n" + "".join(f"{field}\\r\\n" for field in fields) + "\\r\\n"
        answer = "".join(f"{field}\\r\\n" for field in (responses[number] if responses else []))
        parts = [head[:cut], head[cut:]] if cut else [head]
        for part in parts:
            time += 0.001
            ladder += f'{time:.3f} > P. "{part}"\n'
        time += 0.01
        ladder += f'{time:.3f} < P. "HTTP/1.1 200 OK\\r\\n{answer}Content-Length: 0\\r\\n\\r\\n"\n'
    return [row["request_id"] for row in exchanges(ladder)]


@pytest.mark.parametrize("cut", [0, 20])
@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ([f"X-Request-Id: {UUID}"], UUID),
        ([f"x-request-ID:{UUID}  "], UUID),
        ([f"X-Correlation-Id: {UUID}"], UUID),
        ([f"X-Amzn-Trace-Id: {AMAZON}"], AMAZON),
        ([f"traceparent: {TRACE}"], TRACE),
        ([f"traceparent: {TRACE}", "Accept: */*", f"X-Request-Id: {UUID}", f"X-Amzn-Trace-Id: {AMAZON}"], UUID),
        ([f"X-Amzn-Trace-Id: {AMAZON}", f"traceparent: {TRACE}"], AMAZON),
        (["Accept: */*"], ""),
        ([f"X-Request-Idle: {UUID}"], ""),
        (["X-Request-Id: "], ""),
        (["X-Request-Id: " + "a" * 128], "a" * 128),
        (["X-Request-Id: " + "a" * 129], ""),
        (["X-Request-Id: two words"], ""),
        (["X-Request-Id: <script>"], ""),
        (["X-Request-Id: ann@example.com"], ""),
    ],
)
def test_only_well_formed_ids_are_kept(fields: list[str], value: str, cut: int) -> None:
    assert ids([fields], cut=cut) == [value]


@pytest.mark.parametrize("unusual", [[], ["A: b\\r\\n c"]], ids=["usual", "folded"])
def test_of_several_the_first_counts(unusual: list[str]) -> None:
    """Whether a head is read at once or, because of a folded line, in all its details."""
    assert ids([[f"X-Request-Id: 1{UUID}", f"X-Request-Id: 2{UUID}", *unusual]]) == [f"1{UUID}"]


def test_each_request_has_its_own() -> None:
    requests = [[f"X-Request-Id: {number}{UUID}", "Accept: */*"] for number in range(5)]
    assert ids(requests) == [f"{number}{UUID}" for number in range(5)]
    requests[2:4] = [["Accept: */*"], [f"traceparent: {TRACE}", "Accept: */*"]]
    assert ids(requests) == [f"0{UUID}", f"1{UUID}", "", TRACE, f"4{UUID}"]


def test_that_of_the_response_stands_in() -> None:
    assert ids([["Accept: */*"], [f"X-Request-Id: {UUID}"]], [["X-Request-Id: of-server"]] * 2) == ["of-server", UUID]
