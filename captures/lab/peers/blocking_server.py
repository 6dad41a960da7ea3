"""A server with an event loop, which a request for /report keeps busy: blocking_server.py PORT SECONDS blocking|waiting

A handler that blocks stops the whole loop, so that nobody gets an answer; one that waits does not.
"""

import asyncio
import sys
import time

ITEM = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{"stock": 3}'


async def serve(reader, writer):
    """Answers the requests of a connection, one after the other."""
    while head := await reader.read(4096):
        await asyncio.sleep(0.005)
        if head.startswith(b"GET /report"):
            if sys.argv[3] == "blocking":
                time.sleep(float(sys.argv[2]))
            else:
                await asyncio.sleep(float(sys.argv[2]))
        writer.write(ITEM)
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "", int(sys.argv[1]))
    await server.serve_forever()


asyncio.run(main())
