"""Requests with one aiohttp.ClientSession: aiohttp_client.py PAUSE {METHOD BODY URL}..."""

import asyncio
import types

import aiohttp
from requests_of import wanted


async def stream(pieces):
    for piece in pieces:
        yield piece


async def main():
    async with aiohttp.ClientSession() as session:
        for method, body, url in wanted():
            data = stream(body) if isinstance(body, types.GeneratorType) else body
            async with session.request(method, url, data=data) as response:
                await response.read()


asyncio.run(main())
