"""GETs in HTTP/2, known beforehand, with one httpx.Client: http2_client.py URL..."""

import sys

import httpx

with httpx.Client(http1=False, http2=True, timeout=20, trust_env=False) as client:
    for url in sys.argv[1:]:
        client.get(url)
