"""Load all rules, and report problems with rules of other packages."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wiredoctor.cli.exit_codes import print_message

if TYPE_CHECKING:
    from wiredoctor.pipeline import Catalogue


class _Lines(logging.Handler):
    """Prints each record of the logger `wiredoctor` as a line on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        print_message(record.getMessage())


def every_rule() -> Catalogue:
    """Return all rules by name. From this call on, unusable rules of other packages are reported on standard error."""
    from wiredoctor.pipeline import catalogue

    log = logging.getLogger("wiredoctor")
    if not any(isinstance(handler, _Lines) for handler in log.handlers):
        log.addHandler(_Lines())
    return catalogue()
