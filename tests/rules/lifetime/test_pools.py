"""Test that the User-Agent of a client determines the idle timeout of its pool."""

from __future__ import annotations

import re

import pytest

from wiredoctor.findings import Advice
from wiredoctor.world.connection_close import POOLS

SENT = {
    "Go-http-client/1.1": "90 s",
    "curl/8.5.0": "118 s",
    "libcurl/7.88.1": "118 s",
    "okhttp/4.12.0": "5 minutes",
    "node": "4 s",
    "undici": "4 s",
    "axios/1.7.2": "5 s",
    "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)": "5 s",
    "Apache-HttpClient/5.1.3 (Java/17.0.15)": "3 minutes",
    "Apache-HttpClient/4.5.14 (Java/17.0.15)": "no limit",
    "Apache-HttpAsyncClient/4.1.5 (Java/1.8.0_402)": "no limit",
    "Java-http-client/17.0.15": "30 s",
    "Java/17.0.15": "5 s",
    "python-httpx/0.27.0": "5 s",
    "Python/3.11 aiohttp/3.9.1": "15 s",
    "python-requests/2.32.3": "no idle timeout",
    "python-urllib3/2.2.1": "no idle timeout",
    "MS Web Services Client Protocol 4.0": "100 s",
    "GuzzleHttp/7": "118 s",
    "GuzzleHttp/6.5.5 curl/7.88.1 PHP/8.2.7": "118 s",
    "ReactorNetty/1.1.9": "no limit",
    "Vert.x-WebClient/4.4.4": "60 s",
    "AHC/2.1": "60 s",
    "python-pyreqwest/0.15.1": "90 s",
    "Ruby": "5 s",
    "excon/0.88.0": "no idle timeout",
    "Dart/3.2 (dart:io)": "15 s",
    "": "1 minute",
}


def advice(agent: str) -> list[Advice]:
    return [one for one in POOLS if one.side == "client" and re.search(one.software, agent, re.IGNORECASE)]


@pytest.mark.parametrize("agent", SENT)
def test_one_piece_of_advice_for_each_client(agent: str) -> None:
    [told] = advice(agent)
    assert SENT[agent] in told.text


@pytest.mark.parametrize("agent", ["Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/128.0", "HAProxy", "PHP/8.2"])
def test_no_advice_for_others(agent: str) -> None:
    assert not advice(agent)


def test_clients_without_a_user_agent_are_named_in_one_sentence() -> None:
    [told] = advice("")
    assert ".NET, Node or Rust" in told.text
    assert len(re.findall(r"[.](?: |$)", told.text.replace(".NET ", "NET "))) == 1
