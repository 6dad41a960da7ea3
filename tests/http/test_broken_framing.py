"""Test contradictory framing: the message ends there, and the reader searches for a message again from the next packet on."""

from __future__ import annotations

import pytest

from tests.http.talk import briefs, exchanges

BROKEN = [
    "Content-Length: 5,\\r\\n",
    "Content-Length: 5\\r\\nContent-Length: 6\\r\\n",
    "Content-Length: 5, 6\\r\\n",
    "Content-Length: -1\\r\\n",
    "Content-Length: +5\\r\\n",
    "Content-Length: 0x5\\r\\n",
    "Content-Length:\\r\\n",
    "Content-Length: 99999999999999999999999999\\r\\n",
]


@pytest.mark.parametrize("fields", BROKEN)
def test_an_invalid_content_length_ends_the_message(fields: str) -> None:
    """RFC 9112 section 6.3 step 5; the body in the packet of the head is no reason to read the head again."""
    talk = rf"""
        0.020 > P. "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
        0.030 < P. "HTTP/1.1 200 OK\r\n{fields}\r\nhello"
        0.040 > P. "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
        0.050 < P. "HTTP/1.1 204 No Content\r\n\r\n"
    """
    assert briefs(talk) == ["GET /a -> 200 none 0 error", "GET /b -> 204 none 0 complete"]


def test_a_request_with_an_invalid_content_length() -> None:
    talk = r"""
        0.020 > P. "POST /a HTTP/1.1\r\nContent-Length: x\r\n\r\nhello"
        0.030 < P. "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
    """
    [exchange] = exchanges(talk)
    assert (exchange["request_end_reason"], exchange["response_status"]) == ("error", 400)


@pytest.mark.parametrize("line", ["x", "-5", "5 5", "0x5", "", "1234567890abcdef1", ";name=value"])
def test_a_chunk_size_that_is_none_ends_the_message(line: str) -> None:
    """The line in the packet of the head is no reason to read the head again either."""
    talk = rf"""
        0.020 > P. "GET /a HTTP/1.1\r\n\r\n"
        0.030 < P. "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n{line}\r\nhello\r\n0\r\n\r\n"
        0.040 > P. "GET /b HTTP/1.1\r\n\r\n"
        0.050 < P. "HTTP/1.1 204 No Content\r\n\r\n"
    """
    assert briefs(talk) == ["GET /a -> 200 chunked 5 error", "GET /b -> 204 none 0 complete"]


def test_a_chunk_that_no_crlf_ends() -> None:
    talk = r"""
        0.020 > P. "GET /a HTTP/1.1\r\n\r\n"
        0.030 < P. "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n"
    """
    assert briefs(talk) == ["GET /a -> 200 chunked 5 error"]
