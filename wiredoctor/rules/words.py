"""The name until version 0.3 of wiredoctor.rules.shared.numbers, for rules of other packages."""

from wiredoctor.rules.shared.numbers import *  # noqa: F403
