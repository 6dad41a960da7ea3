"""A WSGI application: as many bytes as the path says, with a Content-Length, or as many chunks of 400; /upload reads a body."""


def application(environ, start_response):
    _, kind, *size = environ["PATH_INFO"].split("/")
    headers = [("Content-Type", "text/plain")]
    if kind == "upload":
        body = b"received %d bytes\n" % len(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
    elif kind == "bytes":
        body = b"g" * int(size[0])
    else:
        start_response("200 OK", headers)
        return (b"a line of 40 bytes, of the application.\n" * 10 for _ in range(int(size[0])))
    start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
    return [body]
