"""GETs with Basic credentials by Python's urllib: urllib_basic.py asked|first COUNT URL

asked: its usual password manager waits for a challenge before each request; first: the other one sends credentials at once.
"""

import sys
import urllib.request

when, count, url = sys.argv[1:]
if when == "first":
    passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
    passwords.add_password(None, url, "reader", "secret", is_authenticated=True)
else:
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, url, "reader", "secret")
opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
for _ in range(int(count)):
    with opener.open(url, timeout=20) as response:
        response.read()
