"""Requests with one urllib3.PoolManager: urllib3_client.py PAUSE {METHOD BODY URL}..."""

import urllib3
from requests_of import wanted

with urllib3.PoolManager(timeout=20, retries=False) as pool:
    for method, body, url in wanted():
        pool.request(method, url, body=body)
