"""What a browser does with a page: it reads, and fetches style sheets and scripts as soon as it has read of them.

    browser.py URL

The sub-resources are asked for at the same time, each on a connection of its own, with the page as their Referer.
"""

import http.client
import re
import sys
import threading
from urllib.parse import urljoin, urlsplit


def connect(url):
    return http.client.HTTPConnection(urlsplit(url).hostname, urlsplit(url).port, timeout=20)


def read(connection):
    connection.getresponse().read()
    connection.close()


def fetch(page, urls):
    """Asks for all of them, and leaves the reading to threads."""
    connections = [connect(url) for url in urls]
    for connection in connections:
        connection.connect()
    for url, connection in zip(urls, connections, strict=True):
        connection.request("GET", urlsplit(url).path, headers={"Referer": page, "Accept-Encoding": "identity"})
    readers = [threading.Thread(target=read, args=(connection,)) for connection in connections]
    for reader in readers:
        reader.start()
    return readers


def main():
    page = sys.argv[1]
    connection = connect(page)
    connection.request("GET", urlsplit(page).path)
    response = connection.getresponse()
    text, readers = "", []
    while piece := response.read1():
        text += piece.decode()
        if "</head>" in text and not readers:
            readers = fetch(page, [urljoin(page, link) for link in re.findall(r'(?:href|src)="([^"]+)"', text)])
    for reader in readers:
        reader.join()
    connection.close()


main()
