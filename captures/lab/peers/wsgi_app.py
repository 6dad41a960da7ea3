"""A WSGI application for gunicorn: bytes as many as the path says, with a Content-Length, or chunk by chunk."""


def application(environ, start_response):
    _, kind, size = environ["PATH_INFO"].split("/")
    headers = [("Content-Type", "text/plain")]
    if kind == "bytes":
        headers.append(("Content-Length", size))
    start_response("200 OK", headers)
    return [b"g" * int(size)] if kind == "bytes" else (b"line of the application\n" for _ in range(int(size)))
