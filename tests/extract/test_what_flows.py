"""Two captures that differ in words only become one and the same, where one word is as good as another.

That holds for every byte of them: what is left of a word in any place, in a checksum, or in which bytes of two copies differ,
would make a difference.
"""

from __future__ import annotations

import base64
from itertools import pairwise
from pathlib import Path
from random import Random

import dpkt
import pytest

from tests.decode.packets import ethernet, tcp
from tests.extract.rewriting import made_anonymous
from wiredoctor.extract.anonymize.names import Tokens

LETTERS, DIGITS = b"bcdfgjkmnpqrtvwxz", b"23456789"
"""Without h: in the place of a lost H, it makes hTTP/1.1, which is read as a status line."""
CLIENT, SERVER = bytes((203, 0, 113, 7)), bytes((192, 0, 2, 9))


class Words:
    """Words whose lengths, and places of digits, are those of `form`; which ones they are is up to `chance`."""

    def __init__(self, form: Random, chance: Random) -> None:
        self.form, self.chance = form, chance

    def __call__(self, size: int = 0) -> bytes:
        classes = [self.form.random() < 0.3 for _ in range(size or self.form.choice((3, 4, 5, 7, 12, 20)))]
        return bytes(self.chance.choice(DIGITS if digit else LETTERS) for digit in classes)

    def many(self, by: bytes) -> bytes:
        return by.join(self() for _ in range(self.form.randint(1, 9)))


def request(word: Words) -> bytes:
    fields = (
        b"X-%b: %b" % (word(), word()),
        b"Cookie: %b=%b" % (word(), word()),
        b"Authorization: Bearer %b.%b" % (word(), word()),
        b"User-Agent: %b/%b (%b)" % (word(), word(3), word()),
        b"Authorization: Basic " + base64.b64encode(word() + b":" + word()),
        b"Referer: https://%b.%b/%b" % (word(), word(), word()),
        b"%b %b" % (word(), word()),
    )
    chosen = b"".join(field + b"\r\n" for field in fields if word.form.random() < 0.5)
    line = b"%b /%b/%b?%b=%b HTTP/1.1\r\nHost: %b\r\n" % (word.form.choice((b"POST", word(4))), *(word() for _ in range(5)))
    if word.form.random() < 0.5:
        body = word.many(b" ")
        return line + chosen + b"Content-Length: %d\r\n\r\n" % len(body) + body
    chunks = b"".join(b"%x;%b=%b\r\n%b\r\n" % (len(piece), word(), word(), piece) for piece in word.many(b" ").split())
    return line + chosen + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nX-%b: %b\r\n\r\n" % (word(), word())


def response(word: Words) -> bytes:
    body = word.many(b"\n")
    head = b"HTTP/1.1 %d %b\r\nServer: %b\r\nSet-Cookie: %b=%b; Expires=Fri, 1%d Jul 2024 16:42:47 GMT\r\n"
    filled = head % (word.form.choice((200, 404)), word(), word(), word(), word(), word.chance.randint(0, 9))
    return filled + b"Content-Length: %d\r\n\r\n" % len(body) + body


def packets(form: Random, chance: Random) -> list[bytes]:
    """A conversation in pieces: out of order, some of them lost or sent again, and some of those with other words."""
    word, sent, made = Words(form, chance), [1, 1], list[bytes]()
    for _ in range(3):
        for side, said in enumerate((request(word), response(word))):
            cuts = sorted({0, len(said), *(form.randrange(len(said)) for _ in range(form.randint(0, 6)))})
            pieces = [(begin, said[begin:end]) for begin, end in pairwise(cuts)]
            again = [form.randrange(len(said)) for _ in range(form.randint(0, 2))]
            pieces += [(at, said[at : at + 40] if form.random() < 0.7 else word(30)) for at in again]
            if form.random() < 0.5:
                form.shuffle(pieces)
            made += [packet(side, sent, at, data, form) for at, data in pieces if form.random() < 0.97]
            sent[side] += len(said)
    return made


def packet(side: int, sent: list[int], at: int, data: bytes, form: Random) -> bytes:
    """Some checksums are right, others the same wrong one."""
    ports = (40_000, 80) if side == 0 else (80, 40_000)
    segment = tcp(data, sport=ports[0], dport=ports[1], seq=sent[side] + at, ack=sent[1 - side])
    ip = dpkt.ip.IP(src=(CLIENT, SERVER)[side], dst=(SERVER, CLIENT)[side], p=6, data=dpkt.tcp.TCP(segment))
    ip.len = len(ip)
    if form.random() < 0.3:
        ip.data.sum = 0xBEEF
    return ethernet(bytes(ip))


@pytest.mark.parametrize("number", range(8))
def test_no_byte_follows_a_word(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def alike(_: Tokens, word: bytes) -> bytes:
        return bytes(ord("0") if sign in b"0123456789" else ord("a") for sign in word)

    monkeypatch.setattr(Tokens, "token", alike)
    made, path = list[bytes](), tmp_path / "in.pcap"
    given = [packets(Random(number), Random(f"{number} {words}")) for words in "ab"]
    for capture in given:
        with path.open("wb") as file:
            writer = dpkt.pcap.Writer(file)
            for count, data in enumerate(capture):
                writer.writepkt(data, count / 1000)
        made_anonymous(path, tmp_path / "out.pcapng")
        made.append((tmp_path / "out.pcapng").read_bytes())
    assert given[0] != given[1]
    assert made[0] == made[1]
