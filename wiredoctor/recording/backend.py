"""Choose the backend, start it, and restart it after a failure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wiredoctor.recording.blocks import Blocks
from wiredoctor.recording.filters import FilterError
from wiredoctor.recording.guard import Guard
from wiredoctor.recording.links import Links
from wiredoctor.recording.source import NotThereError, Source, Trouble, trouble
from wiredoctor.recording.starting import BACKENDS, no_such_interface, not_permitted, not_up, start
from wiredoctor.recording.waiting import wait

if TYPE_CHECKING:
    from wiredoctor.recording.request import Request

_FIRST_WORD = 15.0
"""The time in seconds within which a started backend must begin to capture."""

_TRIES, _TRIES_WITHIN = 4, 60.0
"""A backend that has ended _TRIES times within _TRIES_WITHIN seconds, without a known cause, is not restarted again."""


class StoppedError(Exception):
    """A stop was requested while the backend was starting."""


class Backend:
    """Starts and restarts the program or the sockets that capture the packets for a `Request`.

    `source`: the running backend, or None. The pcapng blocks of the backend go to `blocks`. `control`: the files on which stop
    requests arrive.
    """

    def __init__(self, request: Request, links: Links, blocks: Blocks, control: Sequence[int]) -> None:
        self.source: Source | None = None
        self._request = request
        self._links = links
        self._blocks = blocks
        self._control = control
        self._guard = Guard([])
        self._name = ""
        self._ends: list[float] = []

    def first(self) -> Source | str:
        """Try the backends in order, and return the first that captures; if none does, return an error message.

        Raise StoppedError if a stop is requested.
        """
        if missing := self._links.missing():
            return no_such_interface(missing)
        if down := [name for name in self._request.interfaces if name not in self._links.usable()]:
            return not_up(down)
        troubles: list[Trouble] = []
        for name in [self._request.backend] if self._request.backend else BACKENDS:
            found = self._start(name, self._request.interfaces)
            if not isinstance(found, Trouble):
                self._name = name
                return found
            troubles.append(found)
            if found.kind in ("filter", "interface", "down"):
                return found.text
        if any(found.kind == "permission" for found in troubles):
            return not_permitted(self._request.interfaces)
        return "; ".join(found.text for found in troubles)

    def restart(self) -> Trouble | None:
        """Restart the backend on the interfaces that are up; do nothing if no interface is up.

        Return the reason if the restart fails, otherwise None. Raise StoppedError if a stop is requested.
        """
        interfaces = self._links.usable()  # empty for a stream, which cannot begin again
        found = self._start(self._name, interfaces) if interfaces else None
        return found if isinstance(found, Trouble) else None

    def _start(self, name: str, interfaces: Sequence[str]) -> Source | Trouble:
        """Start a backend, wait until it captures, and return it. If that fails, return the reason.

        Raise StoppedError if a stop is requested.
        """
        try:
            source = start(name, interfaces, self._request)
        except NotThereError as error:
            return Trouble("absent", str(error))
        except FilterError as error:
            return Trouble("filter", str(error))
        except ValueError as error:
            return trouble(name, str(error))
        except OSError as error:
            return trouble(name, error.strerror or str(error))
        self.source, self._guard = source, Guard(source.processes)
        give_up = time.monotonic() + _FIRST_WORD
        while not source.begun and not source.ended and time.monotonic() < give_up:
            ready = wait([*source.files(), *self._control], 0.5)
            if not ready.isdisjoint(self._control):
                self.abandon()
                raise StoppedError
            for file in ready:
                source.read(file, self._blocks)
        if source.begun:
            return source
        ended = source.ended
        self.abandon()
        if not ended:
            return Trouble("other", f"{name} did not begin to capture within {_FIRST_WORD:.0f} seconds")
        found = trouble(name, source.complaint())
        return found if found.kind != "other" else Trouble("other", f"{name}: {found.text}")

    def abandon(self) -> None:
        """Kill the backend; packets that it has not delivered yet are lost."""
        if self.source is not None:
            self.source.kill()
        self.clean_up()
        self._blocks.restart()

    def clean_up(self) -> None:
        """Store the last blocks of a backend that has ended, and release its resources."""
        if self.source is not None:
            self.source.close(self._blocks)
            self.source = None
        self._guard.dismiss()

    def ended_too_often(self) -> bool:
        """Record an unexplained end of the backend. Return whether it ended too often to be restarted again."""
        now = time.monotonic()
        self._ends = [end for end in self._ends if now - end < _TRIES_WITHIN] + [now]
        return len(self._ends) >= _TRIES
