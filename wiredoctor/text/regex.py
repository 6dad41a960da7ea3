"""Compile regular expressions when they are first used: compiling all of them takes longer than analyzing a small capture."""

from __future__ import annotations

import re
from functools import cached_property
from typing import AnyStr, Generic


class Regex(Generic[AnyStr]):
    """A regular expression with the methods of re.Pattern."""

    def __init__(self, pattern: AnyStr, flags: re.RegexFlag = re.NOFLAG) -> None:
        self._pattern = pattern
        self._flags = flags

    @cached_property
    def _compiled(self) -> re.Pattern[AnyStr]:
        return re.compile(self._pattern, self._flags)

    @cached_property
    def search(self):
        """Find the first match like re.Pattern.search."""
        return self._compiled.search

    @cached_property
    def match(self):
        """Match like re.Pattern.match."""
        return self._compiled.match

    @cached_property
    def fullmatch(self):
        """Match like re.Pattern.fullmatch."""
        return self._compiled.fullmatch

    @cached_property
    def findall(self):
        """Find all matches like re.Pattern.findall."""
        return self._compiled.findall

    @cached_property
    def sub(self):
        """Replace like re.Pattern.sub."""
        return self._compiled.sub

    @cached_property
    def finditer(self):
        """Search like re.Pattern.finditer."""
        return self._compiled.finditer

    @cached_property
    def split(self):
        """Split like re.Pattern.split."""
        return self._compiled.split
