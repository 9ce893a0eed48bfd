"""Which conversations share words that few others have: resumed topics, and rare names.

A pure function over counts. The score of a pair is the sum of its shared words' rarities, squared, each times the root
of how many of the messages have it in the poorer of the two; over the root of both lengths, because much is shared by
chance where much is said.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import log, sqrt

#: A word of more conversations joins none.
MOST_CONVERSATIONS = 30
#: Conversations that a scope is taken to have besides its own when a word's rarity is judged.
_PRIOR = 20
#: A score that is worth a weight of one half.
_MIDDLE = 15.0
#: How much being about like things counts besides sharing words.
_LIKENESS = 5.0
#: One word with such a share of the score makes the pair share an entity rather than a topic.
_ONE_WORD = 0.5
#: Words that are named as evidence.
_NAMED = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """A word of the conversation that is being linked."""

    term: int
    #: How many of its messages have it.
    here: int
    #: How many messages of each other conversation have it.
    there: Mapping[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """What two conversations share."""

    score: float
    #: Terms, those that count most first.
    terms: tuple[int, ...]
    #: Whether one rare word is most of it.
    is_entity: bool


def shared(words: list[Word], conversations: int, length: int, lengths: Mapping[int, int]) -> dict[int, Shared]:
    """What each other conversation shares with this one.

    Args:
        words: those of this conversation.
        conversations: how many there are in the scope.
        length: words in this one.
        lengths: words in each other one.
    """
    worth: dict[int, dict[int, float]] = defaultdict(dict)
    for word in words:
        if 1 <= len(word.there) < MOST_CONVERSATIONS:
            rarity = log(1 + (conversations + _PRIOR) / (1 + len(word.there))) ** 2
            for other, count in word.there.items():
                worth[other][word.term] = rarity * sqrt(min(word.here, count))
    found = {}
    for other, by_term in worth.items():
        total = sum(by_term[term] for term in sorted(by_term))
        best = sorted(by_term, key=lambda term: (-by_term[term], term))
        found[other] = Shared(
            score=total / sqrt(sqrt(max(length, 1) * max(lengths[other], 1))),
            terms=tuple(best[:_NAMED]),
            is_entity=by_term[best[0]] >= _ONE_WORD * total,
        )
    return found


def weight(score: float, likeness: float) -> float:
    """The weight, 0..1, of a pair with this score whose summaries have this cosine."""
    joined = score * (1 + _LIKENESS * max(0.0, likeness))
    return joined / (joined + _MIDDLE)
