"""Choose replacements with a keyed hash, so equal words and addresses get equal replacements in the complete capture."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import string
from collections.abc import Collection

_TOKEN = re.compile(rb"[A-Za-z0-9]+|[\x80-\xff]+|[^\t\n\r -\xff]+|\x7f+")
_SIGNS = bytes(ord("-") if b in b"!#$^`|~{}[]\\'" else b for b in range(256))
"""A table for bytes.translate that turns characters into `-` if HTTP syntax does not need them (RFC 9110 section 5.6.2).

The replaced characters may be part of a secret.
"""

_CLASSES = (string.digits, string.ascii_lowercase)
TRIES = 200
"""The maximum number of attempts to find an unused replacement for a word. If all fail, two words share a replacement."""


def digest(seed: bytes, *parts: bytes, size: int = 16) -> bytes:
    """Return `size` bytes that cannot be derived from the parts without the seed."""
    made = hashlib.blake2b(b"\0".join((b"%d" % len(part) + b":" + part) for part in parts), key=seed[:64]).digest()
    while len(made) < size:
        made += hashlib.blake2b(made, key=seed[:64]).digest()
    return made[:size]


class Tokens:
    """Maps words to replacements of the same length, digits to digits and letters to letters of the same case.

    Words that differ only in case get the same replacement. `originals`: words in lower case that a search for leaks would
    report. They are used as replacements only if no other words are found.
    """

    def __init__(self, seed: bytes, originals: Collection[bytes] = ()) -> None:
        self._seed, self._originals = seed, originals
        self._known: dict[bytes, bytes] = {}
        self._taken: set[bytes] = set()

    def text(self, data: bytes) -> bytes:
        """Replace each word of a text, but keep the characters between words."""
        return _TOKEN.sub(lambda found: self.token(found[0]), data)

    def plain(self, data: bytes) -> bytes:
        """Replace each word of a text, and turn characters into `-` if HTTP syntax does not need them."""
        return self.text(data).translate(_SIGNS)

    def token(self, word: bytes) -> bytes:
        """Return the replacement for a word.

        In binary data, non-ASCII bytes and control bytes may be content, so they are replaced, too: all non-ASCII bytes by one
        fixed byte, and all control bytes by another.
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
    """Maps IP and MAC addresses to replacements that are not among `originals`.

    If possible, the text form of a replacement is as long as that of its original, so it also fits into header sections. The
    replacement comes from a range for documentation or tests or, if no address of this length is left there, from a private
    range. An IPv4 loopback address is replaced by another loopback address.
    """

    def __init__(self, seed: bytes, originals: Collection[bytes]) -> None:
        self._seed, self._originals = seed, frozenset(originals)
        self._texts = {str(ipaddress.ip_address(one)) for one in self._originals if len(one) in (4, 16)}
        self._lengths = {len(text) for text in self._texts}
        self._known: dict[bytes, bytes] = {}
        self._taken: set[bytes] = set()

    def __call__(self, address: bytes) -> bytes:
        """Return the replacement for an IPv4, IPv6 or MAC address. Keep all-zero addresses and the Ethernet broadcast address."""
        if address == bytes(len(address)) or address == b"\xff" * 6:
            return address
        made = self._known.get(address)
        attempt = 0
        while made is None:
            chance = digest(self._seed, b"address", address, b"%d" % attempt, size=32)
            found = self._make_address(address, chance, attempt)
            attempt += 1
            if attempt > 1 << 16 or (found not in self._taken and not self._resembles_original(found)):
                made = self._known[address] = found
                self._taken.add(found)
        return made

    def text(self, written: bytes) -> bytes | None:
        """Return the replacement for an address in text form.

        Return None if the text is not an address, or if the replacement has another length.
        """
        try:
            address = ipaddress.ip_address(written.decode("ascii"))
        except (UnicodeDecodeError, ValueError):
            return None
        made = str(ipaddress.ip_address(self(address.packed))).encode()
        return made if len(made) == len(written) and any(address.packed) else None

    def _resembles_original(self, address: bytes) -> bool:
        """Return whether a search for the original addresses would find this address, in binary or text form."""
        if address in self._originals:
            return True
        if len(address) == 6:
            return False
        text = str(ipaddress.ip_address(address))
        # comparing each replacement with each original would take quadratic time
        return any(text[at : at + size] in self._texts for size in self._lengths for at in range(len(text) - size + 1))

    def _make_address(self, address: bytes, chance: bytes, attempt: int) -> bytes:
        if len(address) == 6:
            return bytes((2 | (address[0] & 1), 0, 0)) + chance[:3]
        text = str(ipaddress.ip_address(address)) if attempt < TRIES else ""
        if len(address) == 16:
            return _ipv6(len(text), chance) or bytes.fromhex("20010db8") + chance[:12]
        if address[0] == 127:
            return _ipv4((127,), len(text), chance) or bytes((127,)) + chance[:3]
        # an address of RFC 2544, because there are too few documentation addresses
        tests = 198, 18 | (chance[0] & 1)
        prefixes = (tests, (10,), (192, 168))[attempt >= TRIES // 2 :]  # the first range may have no unused address left
        made = (_ipv4(prefix, len(text), chance[1:]) for prefix in prefixes)
        return next(filter(None, made), bytes(tests) + chance[1:3])


def _ipv4(prefix: tuple[int, ...], length: int, chance: bytes) -> bytes | None:
    """Return an IPv4 address that begins with the bytes `prefix` and is `length` characters long as text.

    Return None if there is no address of this length. `chance`: pseudo-random bytes that determine the other bytes.
    """
    count = 4 - len(prefix)
    digits = _split(length - sum(len(f"{one}.") for one in prefix) - (count - 1), count, 3, chance)
    bounds = ((0, 9), (10, 99), (100, 255))
    chosen = [bounds[number - 1] for number in digits]
    rest = bytes(low + one % (high - low + 1) for (low, high), one in zip(chosen, chance[count:], strict=False))
    return bytes(prefix) + rest if digits else None


def _ipv6(length: int, chance: bytes) -> bytes | None:
    """Return an IPv6 address with this many characters in its shortest form (RFC 5952); None if there is none.

    The address is in 2001:db8::/32 or, if no address there has this length, in fd00::/8. `chance`: pseudo-random bytes that
    determine the rest of the address.
    """
    if 7 <= length < 11:
        begin, groups = [0xFD00 | chance[0]], _split(length - 6, 1, 4, chance[1:])
    elif length == 39:
        begin, groups = [0xFD00 | chance[0]], [4] * 7
    else:
        begin = [0x2001, 0xDB8]
        count = 6 if length > 29 else max(1, (length - 10 + 5) // 5)
        groups = _split(length - (9 if count == 6 else 10) - (count - 1), count, 4, chance[1:])
    words = [_word(digits, chance[8 + 2 * n : 10 + 2 * n]) for n, digits in enumerate(groups)]
    whole = [*begin, *[0] * (8 - len(begin) - len(words)), *words]
    return b"".join(word.to_bytes(2, "big") for word in whole) if groups else None


def _word(digits: int, chance: bytes) -> int:
    """Return a number with this many hexadecimal digits, which the pseudo-random bytes `chance` determine."""
    low = 16 ** (digits - 1)
    return low + int.from_bytes(chance, "big") % (15 * low)


def _split(whole: int, count: int, most: int, chance: bytes) -> list[int]:
    """Split the number `whole` into a sum of `count` numbers between 1 and `most`. Return an empty list if that is impossible.

    `chance`: pseudo-random bytes that determine the numbers.
    """
    if not count <= whole <= count * most:
        return []
    parts = [1] * count
    for step in range(whole - count):
        free = [place for place, one in enumerate(parts) if one < most]
        parts[free[chance[step % len(chance)] % len(free)]] += 1
    return parts
