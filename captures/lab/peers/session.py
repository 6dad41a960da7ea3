"""GETs with one requests.Session: session.py PAUSE URL... (PAUSE: seconds between the exchanges)."""

import sys
import time

import requests

with requests.Session() as session:
    for url in sys.argv[2:]:
        session.get(url, timeout=20)
        time.sleep(float(sys.argv[1]))
