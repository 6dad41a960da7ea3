"""Choose replacements with a keyed hash: equal words and addresses get equal replacements in the whole capture."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Collection

_TOKEN = re.compile(rb"[A-Za-z0-9]+|[\x80-\xff]+|[^\t\n\r -\xff]+|\x7f+")
_SIGNS = bytes(ord("-") if b in b"!#$^`|~{}[]\\'" else b for b in range(256))
"""A translation table that replaces characters that no grammar needs (RFC 9110 section 5.6.2); secrets may contain them."""

_CLASSES = (string.digits, string.ascii_lowercase)
TRIES = 200
"""The maximum number of attempts per word. If its length allows no other replacement, two words share one."""


def digest(seed: bytes, *parts: bytes, size: int = 16) -> bytes:
    """Return bytes that cannot be derived without the seed."""
    made = hashlib.blake2b(b"\0".join((b"%d" % len(part) + b":" + part) for part in parts), key=seed[:64]).digest()
    while len(made) < size:
        made += hashlib.blake2b(made, key=seed[:64]).digest()
    return made[:size]


class Tokens:
    """Maps words of letters and digits to others with the same length and character classes, ignoring case.

    `originals`: words in lower case that are never used as replacements, because a search could not distinguish them from leaks.
    """

    def __init__(self, seed: bytes, originals: Collection[bytes] = ()) -> None:
        self._seed, self._originals = seed, originals
        self._known: dict[bytes, bytes] = {}
        self._taken: set[bytes] = set()

    def text(self, data: bytes) -> bytes:
        """Replace each word of a text, but keep the characters between words."""
        return _TOKEN.sub(lambda found: self.token(found[0]), data)

    def plain(self, data: bytes) -> bytes:
        """Replace each word, and replace characters without a meaning in HTTP by one character."""
        return self.text(data).translate(_SIGNS)

    def token(self, word: bytes) -> bytes:
        """Replace a word.

        All non-ASCII bytes and all control bytes become one placeholder each, as binary data consists of them.
        """
        if word[0] >= 0x80:
            return b"\xbf" * len(word)
        if not word[:1].isalnum():
            return b"\x01" * len(word)
        key = word.lower()
        made = self._known.get(key)
        if made is None:
            made = self._known[key] = self._new(key)
            self._taken.add(made)
        return bytes(m - 32 if 65 <= w <= 90 else m for w, m in zip(word, made, strict=True))

    def _new(self, key: bytes) -> bytes:
        made = found = key
        for attempt in range(TRIES):
            chance = digest(self._seed, b"token", key, b"%d" % attempt, size=len(key))
            found = bytes(
                ord(_CLASSES[not 48 <= k <= 57][c % (10 if 48 <= k <= 57 else 26)]) for k, c in zip(key, chance, strict=True)
            )
            if found != key:
                made = found
                if found not in self._taken and found not in self._originals:
                    break
        return made


class Addresses:
    """Maps IP and MAC addresses to documentation and locally administered ones, but never to one of `originals`."""

    def __init__(self, seed: bytes, originals: Collection[bytes]) -> None:
        self._seed, self._originals = seed, frozenset(originals)
        self._known: dict[bytes, bytes] = {}
        self._taken: set[bytes] = set()

    def __call__(self, address: bytes) -> bytes:
        """Return the replacement for an address of 4, 16 or 6 bytes."""
        if address == bytes(len(address)) or address == b"\xff" * 6:
            return address
        made = self._known.get(address)
        attempt = 0
        while made is None:
            found = self._make_address(address, digest(self._seed, b"address", address, b"%d" % attempt))
            attempt += 1
            if attempt > 1 << 16 or (found not in self._taken and found not in self._originals):
                made = self._known[address] = found
                self._taken.add(found)
        return made

    def _make_address(self, address: bytes, chance: bytes) -> bytes:
        if len(address) == 6:
            return bytes((2 | (address[0] & 1), 0, 0)) + chance[:3]
        if len(address) == 16:
            return bytes.fromhex("20010db8") + chance[:12]
        if address[0] == 127:
            return bytes((127,)) + chance[:3]
        # an address of RFC 2544, because there are too few documentation addresses
        return bytes((198, 18 | (chance[0] & 1))) + chance[1:3]
