"""The name until version 0.3 of wiredoctor.rules.shared.evidence, for rules of other packages."""

from wiredoctor.rules.shared.evidence import *  # noqa: F403
