"""A WSGI application for gunicorn: as many bytes as the path says, with a Content-Length, or as many chunks of 400."""


def application(environ, start_response):
    _, kind, size = environ["PATH_INFO"].split("/")
    headers = [("Content-Type", "text/plain")]
    if kind == "bytes":
        headers.append(("Content-Length", size))
    start_response("200 OK", headers)
    return (
        [b"g" * int(size)] if kind == "bytes" else (b"a line of 40 bytes, of the application.\n" * 10 for _ in range(int(size)))
    )
