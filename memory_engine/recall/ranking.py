"""How much each message has to do with a question: pure functions over one score a message.

Nothing is normalised by query, so a score means the same everywhere and orders as it is shown:
relevance = (1 - d) * share of the query's words + d * cosine, where d grows with the length of the scope's messages;
then what neighbours lend, what the session's best adds, and bonuses for who said it and when. Constants were chosen on
LoCoMo and LongMemEval together (docs/recall.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory_engine.recall.catalogue import CatalogueView

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: What a message's neighbour at distance 1 and 2 in its session gets of its relevance.
_LENT = (0.4, 0.15)
#: What comes after a question gets so much more of the question's relevance: it is the answer.
_ANSWER = 1.5
#: What a message loses that ends with a question: it has the words, and not what they ask for.
_ASKING = 0.1
#: A lender of so many words lends half: short turns need their context, long ones carry it.
_LENDER_WORDS = 55.0
#: A receiver of so many words takes half.
_RECEIVER_WORDS = 110.0
#: Neighbours lend in full where the words' share is at least this, less where messages are longer and it is less.
_CHATTY = 0.714
_SESSION_SHARE = 0.2
#: What a message gets whose neighbours have all the words of the question that it lacks, and how far these may be.
_COMPLETED, _REACH = 0.12, 3
#: Words of a question that are looked at together, so that a large scope does not take much room.
_AT_ONCE = 16
#: What a message of no words loses, and at how many words it loses 1/e of that: "Wow, thanks!" is rarely an answer.
_SHORT, _SHORT_WORDS = 0.08, 20.0
_SPEAKER_BONUS = 0.16
#: For what the person said who asks about themself, where an assistant speaks too.
_ASKER_BONUS = 0.06
#: For what somebody pinned: so little that it decides among equals only. Not measured.
_PINNED_BONUS = 0.02
#: For what was said at the time that the question names.
_TIME_BONUS = 0.1
#: People tell of things afterwards: the share of it right after that time, falling to none within so many days.
_AFTERWARDS, _AFTERWARDS_DAYS = 0.75, 14
#: The cosine's share against the words', by the mean number of words of a message.
_MEAN_WORDS = (35.0, 190.0, 300.0)
_DENSE_SHARES = (0.286, 0.776, 0.9)
#: Words beyond these say no more about how long messages are: one pasted document does not change a scope's kind.
_LONG_WORDS = 400
#: The relevance that counts as a score of one half, and how fast scores rise around it.
_MIDDLE, _STEEPNESS = 0.43, 6.0
#: A large scope speaks to a question when its best message has so much relevance by its own words and vector; a
#: smaller one needs less, as the root of its size, because less is there by chance. Chosen on nine stores of several
#: kinds and languages, so that two or three in a hundred questions that have an answer are refused (docs/recall.md).
_GATE = 0.158
#: Messages between which the size counts.
_SMALL_SCOPE, _LARGE_SCOPE = 100, 600
#: Once something passed the gate, whatever has this share of the best one's substance may be part of the answer.
_TAIL = 0.15


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What is known of every message for one question; shape (messages,) each."""

    #: Share of the query's words, 0..1.
    lexical: Floats
    #: What words of like meaning add to it.
    similar: Floats
    #: Whitened cosine, -1..1; 0 where it was not looked at.
    cosine: Floats
    #: Which messages may be recalled at all.
    allowed: Mask
    #: For each word of the question but for names, the positions of the messages that have it, and how rare it is.
    words: Sequence[tuple[NDArray[np.int32], float]]
    #: Which messages a person named in the question said.
    spoken: Mask
    #: Which messages the one who asks said, where they ask about themself.
    asker: Mask
    #: Which messages somebody pinned.
    pinned: Mask
    #: How near to the time that the question names each message was said, 0..1.
    timely: Floats
    #: How much a cosine counts against the words' share in this scope, 0..1.
    dense: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """The relevance of every message, and the parts that it adds up from."""

    relevance: Floats
    #: The relevance without what the message's length and speaker change: what is held against the floor.
    substance: Floats
    parts: Mapping[str, Floats]

    def passing(self, floor: float, at_least: float) -> NDArray[np.int64]:
        """Positions of the messages whose substance reaches the floor and whose relevance reaches the other bound."""
        return np.flatnonzero((self.substance >= floor) & (self.relevance >= at_least))

    def ordered(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """These positions by relevance, best first, older first among equals."""
        return positions[np.argsort(-self.relevance[positions], kind="stable")]


def rank(catalogue: CatalogueView, evidence: Evidence) -> Ranking:
    """Add up the relevance of every message; those that are not allowed get minus infinity."""
    dense, allowed = evidence.dense, evidence.allowed
    parts = {
        "lexical": np.where(allowed, (1 - dense) * evidence.lexical, 0.0),
        "similar": np.where(allowed, (1 - dense) * evidence.similar, 0.0),
        "vector": np.where(allowed, dense * np.maximum(evidence.cosine, 0.0), 0.0),
    }
    own = parts["lexical"] + parts["similar"] + parts["vector"]
    parts["neighbours"] = min(1.0, (1 - dense) / _CHATTY) * borrowed(catalogue, own)
    told = own + parts["neighbours"]
    parts["asking"] = np.where(catalogue.asks, -_ASKING * told, 0.0)
    told = told + parts["asking"]
    parts["session"] = _SESSION_SHARE * session_best(catalogue.session, told)
    parts["completed"] = np.where(allowed, _COMPLETED * completed(catalogue, evidence), 0.0)
    parts["short"] = -_SHORT * np.exp(-catalogue.words / _SHORT_WORDS)
    parts["speaker"] = np.where(evidence.spoken, _SPEAKER_BONUS, 0.0)
    parts["asker"] = np.where(evidence.asker, _ASKER_BONUS, 0.0)
    parts["pinned"] = np.where(evidence.pinned, _PINNED_BONUS, 0.0)
    substance = told + parts["session"] + parts["completed"]
    parts["time"] = np.where(allowed, _TIME_BONUS * evidence.timely, 0.0)
    bonuses = parts["short"] + parts["speaker"] + parts["asker"] + parts["time"] + parts["pinned"]
    relevance = substance + bonuses
    return Ranking(
        relevance=np.where(allowed, relevance, -np.inf),
        substance=np.where(allowed, substance, -np.inf),
        parts=parts,
    )


def dense_share(words: NDArray[np.int64]) -> float:
    """How much a cosine counts against the words' share, 0..1: more where messages have more words."""
    mean_words = float(np.minimum(words, _LONG_WORDS).mean()) if len(words) else 1.0
    return float(np.interp(np.log(max(mean_words, 1.0)), np.log(_MEAN_WORDS), _DENSE_SHARES))


def floor(found: Ranking, messages: int) -> float:
    """The substance that a message needs to be a hit in a scope of so many messages.

    It is more than any has where nothing speaks to the question.
    """
    own = found.parts["lexical"] + found.parts["similar"] + found.parts["vector"]
    gate = _GATE * (np.clip(messages, _SMALL_SCOPE, _LARGE_SCOPE) / _LARGE_SCOPE) ** 0.5
    evident, best = float(own.max(initial=0.0)), float(found.substance.max(initial=0.0))
    return _TAIL * best if evident >= gate else float(gate) * best / max(evident, 1e-9) + 1e-9


def borrowed(catalogue: CatalogueView, relevance: Floats) -> Floats:
    """What each message gets from its neighbours in the session, gated by the lengths of both."""
    lend = relevance / (1 + (catalogue.words / _LENDER_WORDS) ** 2)
    take = 1 / (1 + (catalogue.words / _RECEIVER_WORDS) ** 2)
    onward = np.where(catalogue.asks, _ANSWER, 1.0) * lend
    total = np.zeros(len(relevance))
    before = catalogue.previous
    for share in _LENT:
        here = np.flatnonzero(before >= 0)
        there = before[here]  # each message stands before at most one other, so plain indexing adds up
        total[here] += share * onward[there] * take[here]
        total[there] += share * lend[here] * take[there]
        before = np.where(before >= 0, catalogue.previous[before], -1)
    return total


def completed(catalogue: CatalogueView, evidence: Evidence) -> Floats:
    """The share of the question's words, by rarity, that stand near each message in its session and not in it.

    Gated by the lengths of both as what neighbours lend: an answer in a chat leaves out what was just said.
    """
    total, most = np.zeros(len(catalogue)), sum(rarity for _, rarity in evidence.words)
    lend = 1 / (1 + (catalogue.words / _LENDER_WORDS) ** 2)
    for start in range(0, len(evidence.words), _AT_ONCE):
        some = evidence.words[start : start + _AT_ONCE]
        near = _lent_nearby(catalogue, evidence.allowed, lend, [having for having, _ in some])
        total += np.array([rarity for _, rarity in some]) @ near
    return total / (most or 1.0) / (1 + (catalogue.words / _RECEIVER_WORDS) ** 2)


def _lent_nearby(
    catalogue: CatalogueView, allowed: Mask, lend: Floats, words: Sequence[NDArray[np.int32]]
) -> NDArray[np.float64]:
    """For each word the most that a message near by that has it lends; shape (words, messages)."""
    near = np.zeros((len(words), len(catalogue)))
    having = np.concatenate(words).astype(np.int64)
    word = np.repeat(np.arange(len(words)), [len(each) for each in words])
    may = allowed[having]
    for step in (catalogue.preceding, catalogue.following):
        at, of, lent = having[may], word[may], lend[having[may]]
        for _ in range(_REACH):
            at = step(at)
            inside = at >= 0
            at, of, lent = at[inside], of[inside], lent[inside]
            # No two messages of a session stand as far before the same one, so plain indexing loses none.
            near[of, at] = np.maximum(near[of, at], lent)
    near[word, having] = 0.0
    return near


def session_best(session: NDArray[np.int64], relevance: Floats) -> Floats:
    """The highest relevance in each message's session."""
    best = np.zeros(int(session.max()) + 1 if len(session) else 0)
    np.maximum.at(best, session, relevance)
    return best[session]


def timely(created_at: NDArray[np.int64], start: int, end: int) -> Floats:
    """How near to the time from `start` up to `end`, in microseconds, each message was said: 1 within, less after."""
    since = (created_at - end) / (_AFTERWARDS_DAYS * 24 * 3600 * 1_000_000)
    after = np.where((since >= 0) & (since < 1), _AFTERWARDS * (1 - since), 0.0)
    return np.where((created_at >= start) & (created_at < end), 1.0, after)


def score(relevance: Floats) -> Floats:
    """The score in 0..1 that clients see: a fixed logistic of the relevance."""
    shown: Floats = 1 / (1 + np.exp(-_STEEPNESS * (relevance - _MIDDLE)))
    return shown


def relevance_of(shown: float) -> float:
    """The relevance that is shown as this score; the inverse of `score`."""
    inside = min(max(shown, 1e-9), 1 - 1e-9)
    return _MIDDLE + float(np.log(inside / (1 - inside))) / _STEEPNESS
