"""GETs that know nothing of each other: apart.py requests|urllib PAUSE URL... (PAUSE: seconds between them)."""

import sys
import time
import urllib.request

import requests

for url in sys.argv[3:]:
    if sys.argv[1] == "requests":
        requests.get(url, timeout=20)
    else:
        with urllib.request.urlopen(url, timeout=20) as response:
            response.read()
    time.sleep(float(sys.argv[2]))
