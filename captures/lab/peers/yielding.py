"""A WSGI application that yields /lines/COUNT lines of 40 bytes, 150 ms apart; `collected` is the same behind a middleware that
hands on a list."""

import time


def lines(count):
    for number in range(count):
        if number:
            time.sleep(0.15)
        yield b"line %034d\n" % number


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return lines(int(environ["PATH_INFO"].rpartition("/")[2]))


def collected(environ, start_response):
    return list(application(environ, start_response))
