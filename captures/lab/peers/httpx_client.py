"""Requests with one httpx.Client, which follows redirects: httpx_client.py PAUSE {METHOD BODY URL}..."""

import httpx
from requests_of import wanted

with httpx.Client(timeout=20, follow_redirects=True, trust_env=False) as client:
    for method, body, url in wanted():
        client.request(method, url, content=body)
