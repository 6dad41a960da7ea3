"""Rank rules by the words of a question. Rare words count more than others. Words that occur together in one text of a rule also
count more.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

from wiredoctor.report.terminal.error_messages import Message, messages
from wiredoctor.report.terminal.message_search import SMALL_WORDS, plain

_PHRASE, _TITLE, _PAGE = 3.0, 2.0, 0.7
"""The weights of words in three kinds of a rule's texts: phrases that users type; name and titles; and the manual page."""

_LATER = 0.75
"""The weight of each further rule that explains an error message, relative to the weight of the preceding rule."""

_FILLER = 0.2
"""The weight of fillers: words that occur in questions about any rule, and so say little about the right one."""

_STATUS = 2.0
"""The weight of a status code, which says more about the rule than other words."""

_LEAST = 0.4
"""The minimum score of the rules that are shown, as a fraction of the best score."""

_SAME = (
    (r"\bkeep alives?\b", "keepalive"),
    (r"\bkeepalivetimeout\b|\bkeepalive time out\b", "keepalive timeout"),
    (r"\b(?:timed|time|times|timing) out\b|\btimeouts\b", "timeout"),
    (r"\b(?:cut|cuts|broken|breaks) (?:off|short)\b|\bincomplete\b|\bpartial\b|\bpremature(?:ly)?\b", "truncated"),
    (r"\b(?:k8s|kubernetes|ingress|reverse proxy|proxy|upstream)\b", "gateway"),
    (r"\btime to first byte\b|\bttfb\b", "slow first byte"),
    (r"\beconnreset\b|\brst\b", "reset"),
    (r"\b(?:load balancer|elb|balancer)\b", "alb"),
    (r"\bhang(?:s|ing)?\b|\bstuck\b|\bfreezes?\b", "stall"),
    (r"\bdisconnect(?:s|ed|ing|ion)?\b|\bdrop(?:s|ped)? after\b", "idle cut"),
    (r"\bsse\b|\bserver sent events?\b|\beventsource\b", "event stream"),
)
"""Patterns for different words with the same meaning, each with the word that replaces them in questions and in texts of rules.
"""


class RuleText(NamedTuple):
    """The searchable texts of a rule: phrases that users type, its titles, and its manual page."""

    phrases: tuple[str, ...]
    titles: tuple[str, ...]
    page: str


class _Stems(NamedTuple):
    stems: frozenset[str]
    weight: float


def rank(rules: Mapping[str, RuleText], question: str) -> list[str]:
    """Return the names of the rules that fit the words of the question, best first.

    Rules with the same score keep the order of `rules`. The result is empty if the question has only fillers and unknown words.
    """
    texts = {name: [*_texts(name, rule)] for name, rule in rules.items()}
    used = Counter(stem for some in texts.values() for stem in frozenset[str]().union(*(text.stems for text in some)))
    weights = {stem: _weight(stem, used[stem], len(rules)) for stem in _stems(question) if used[stem]}
    if weights.keys() <= _FILLERS:
        return []
    scores = {name: _score(some, weights) for name, some in texts.items()}
    least = _LEAST * max(scores.values())
    return sorted((name for name, score in scores.items() if score >= least), key=lambda name: -scores[name])


def covers(phrase: str, question: str) -> bool:
    """Return whether a phrase contains all words of the question, except fillers."""
    return _stems(question) - _FILLERS <= _stems(phrase)


def _texts(name: str, rule: RuleText) -> Iterator[_Stems]:
    yield from (_Stems(_stems(text), _PHRASE) for text in rule.phrases)
    yield from (_Stems(_stems(text), _TITLE) for text in (name, *rule.titles))
    yield _Stems(_stems(rule.page), _PAGE)
    for row in messages():
        if name in row.rules:
            weight = _PHRASE * _LATER ** row.rules.index(name)
            yield from (_Stems(_stems(text), weight) for text in _of_message(row))


def _of_message(row: Message) -> Iterable[str]:
    return [f"{row.software} {said.lstrip('~=%')}" for said in row.said] + [f"{row.software} {row.means}"]


def _weight(stem: str, rules: int, of: int) -> float:
    """Return the weight of a word of the question. A rare word weighs more.

    `rules`: the number of rules whose texts contain the word. `of`: the number of all rules. Fillers weigh less than other words,
    and status codes more.
    """
    return math.log((of + 1) / rules) * (_FILLER if stem in _FILLERS else _STATUS if re.fullmatch("[45][0-9]{2}", stem) else 1.0)


def _score(texts: Iterable[_Stems], weights: Mapping[str, float]) -> float:
    """Return how well a rule's texts match a question.

    Each word of the question scores the highest weight of the texts that contain it. The text that fits best earns a bonus. A
    text fits well if it contains many words of the question and few others.
    """
    best: dict[str, float] = {}
    fit = 0.0
    for stems, weight in texts:
        here = [stem for stem in weights if stem in stems]
        for stem in here:
            best[stem] = max(best.get(stem, 0.0), weight * weights[stem])
        if here and weight > _PAGE:
            both = sum(weights[stem] for stem in here)
            fit = max(fit, weight * both * len(here) / (len(weights) + len(stems) - len(here)) * 2)
    return sum(best.values()) + fit


def stem(word: str) -> str:
    """Return a word without its ending, such as "clos" for closed, closes and closing, so that all forms of a word match."""
    return re.sub(r"(?<=\w{3})(ing|ed|es|s|e)$", "", word)


@cache
def _stems(text: str) -> frozenset[str]:
    words = plain(text)
    for pattern, word in _SAME:
        words = re.sub(pattern, word, words)
    return frozenset(stem(word) for word in SMALL_WORDS.sub("", words).split())


_FILLERS = _stems(
    "after all always any bad behind can client close connection do does error every fail get here how http i intermittent "
    "intermittently no off only out over problem random request server sent send some sometimes tcp there this too under up "
    "very we what which while you"
)
