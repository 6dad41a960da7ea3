"""Sentences that all formats for people share."""

from __future__ import annotations

import pytest

from wiredoctor.report.phrases import product


@pytest.mark.parametrize(
    ("software", "name"),
    [
        ("curl/8.5.0", "curl/8.5.0"),
        ("Apache/2.4.7 (Ubuntu) PHP/5.5", "Apache/2.4.7"),
        ("Python/3.11 aiohttp/3.8.4", "Python/3.11"),
        ("Microsoft-IIS/7.5", "Microsoft-IIS/7.5"),
        ("Jetty(9.4.z-SNAPSHOT)", "Jetty(9.4.z-SNAPSHOT)"),
        ("Some Long Name Of A Product Without Any Version", "Some Long Name Of A...uct Without Any Version"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0", "Firefox/115.0"),
        ("Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/116.0.0.0 Safari/537.36", "Chrome/116.0.0.0"),
        ("Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/116.0.0.0 Safari/537.36 Edg/116.0", "Edg/116.0"),
        ("Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0)", "MSIE 8.0"),
        ("Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko", "Trident/7.0"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Googlebot/2.1"),
        ("Mozilla/5.0", "Mozilla/5.0"),
    ],
)
def test_product(software: str, name: str) -> None:
    shown = product(software)
    assert len(shown) <= 40
    assert shown == name or "..." in name
