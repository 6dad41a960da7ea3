"""Provide wiredoctor.rules.shared.numbers under its former name until version 0.3, for rules of other packages."""

from wiredoctor.rules.shared.numbers import *  # noqa: F403
