"""Provide wiredoctor.rules.shared.evidence under its former name until version 0.3, for rules of other packages."""

from wiredoctor.rules.shared.evidence import *  # noqa: F403
from wiredoctor.rules.shared.evidence import capture_columns, confidence, fin_or_rst, one_capture_candidate

close_confidence, close_word, of_the_capture, told_once = confidence, fin_or_rst, capture_columns, one_capture_candidate
