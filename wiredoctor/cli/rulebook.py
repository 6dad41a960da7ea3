"""The rules that there are, and what is wrong with those of other packages."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wiredoctor.cli.exit_codes import say

if TYPE_CHECKING:
    from wiredoctor.pipeline import Catalogue


class _Lines(logging.Handler):
    """What the log `wiredoctor` holds, as lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


def every_rule() -> Catalogue:
    """All rules by name; from now on one of another package that cannot be used has its line on standard error."""
    from wiredoctor.pipeline import catalogue

    log = logging.getLogger("wiredoctor")
    if not any(isinstance(handler, _Lines) for handler in log.handlers):
        log.addHandler(_Lines())
    return catalogue()
