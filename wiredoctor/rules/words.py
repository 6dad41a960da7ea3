"""Keep the former name of wiredoctor.rules.shared.numbers until version 0.3, for rules of other packages."""

from wiredoctor.rules.shared.numbers import *  # noqa: F403
