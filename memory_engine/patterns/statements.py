"""What people state of themselves: "call me Ana", "je préfère le train", "мы деплоим по вторникам".

A rule names what a statement is about (its slot); a newer one about the same supersedes the older. Where a rule is
about many things, what it is about stands in a group of its pattern, so that "we deploy on Fridays" and "we deploy on
Tuesdays" share a slot and "we meet on Mondays" has another.

Only the speaker's own words count, and a rule ("never deploy on Fridays") is an instruction: it is taken only from a
message that is nothing but statements, and waits until a person confirms it.
"""

import re
from dataclasses import dataclass

from memory_engine.consolidation.sentences import Sentence, sentences_of
from memory_engine.lexical.analysis import stems_of
from memory_engine.lexical.stopwords import STOP_WORDS
from memory_engine.patterns.own_words import is_all_own, own_words

#: The slots of what tells an assistant what to do.
_RULE = "rule"


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """A sentence in which somebody states something of themself."""

    slot: str
    sentence: Sentence

    @property
    def is_rule(self) -> bool:
        """Whether it tells an assistant what to do, so that a person must confirm it."""
        return self.slot.partition(":")[0] == _RULE


#: Slot and pattern; a group `about` is added to the slot.
_RULES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (slot, re.compile(pattern, re.IGNORECASE))
    for slot, pattern in (
        # English
        ("name", r"\b(?:call me|my name is|i go by)\s+\w"),
        ("home", r"\b(?:i|we) (?:now )?(?:live|moved|have moved|'ve moved|relocated)(?: \w+)? (?:in|to)\s+\w"),
        ("work", r"\bi (?:now )?work (?:at|for|as|in)\s+\w|\bi(?:'m| am) (?:now )?an? \w+ (?:at|by trade)"),
        ("birthday", r"\bmy birthday is\b"),
        ("language", r"\b(?:i speak|please (?:answer|reply|write) (?:to me )?in)\s+\w"),
        ("allergy", r"\bi(?:'m| am) (?:allergic|intolerant) to (?P<about>\w+)"),
        ("diet", r"\bi(?:'m| am)(?: now)? an? (?:vegan|vegetarian|pescatarian)\b|\bi don't eat\b"),
        ("preference", r"\b(?:i|we) (?:(?:really|always|usually|would|'d|now) )*"
                       r"prefer (?P<about>\w+)(?: (?P<head>\w+))?"),
        ("favourite", r"\bmy favou?rite (?P<about>\w+) (?:is|are)\b"),
        ("habit", r"\b(?:i|we) (?:(?:always|usually|now|only|never) )*(?P<about>\w+) (?:\w+ )?(?:on (?:mon|tues|wednes"
                  r"|thurs|fri|satur|sun)days|(?:every|each) (?:mon|tues|wednes|thurs|fri|satur|sun)day)"),
        (_RULE, r"^(?:please,? )?(?:always|never) (?P<about>\w+ \w+)"),
        # French
        ("name", r"\b(?:appelle[sz]?-moi|je m'appelle|mon nom est)\s+\w"),
        ("home", r"\b(?:j'habite|nous habitons|je vis|j'ai déménagé|je suis installée?)"
                 r"(?: \w+)? (?:à|au|en|dans)\s+\w"),
        ("work", r"\bje travaille (?:chez|pour|comme|à|dans)\s+\w"),
        ("birthday", r"\bmon anniversaire (?:est|tombe)\b"),
        ("allergy", r"\bje suis (?:allergique|intolérante?) (?:à|au|aux) (?:la |l')?(?P<about>\w+)"),
        ("diet", r"\bje suis (?:vegan|végétarienne?|végane)\b|\bje ne mange pas\b"),
        ("preference", r"\b(?:je|nous) préf[éè]r(?:e|ons|erais|erions) "
                       r"(?:le |la |les |l'|un |une |des |du )?(?P<about>\w+)"),
        ("habit", r"\b(?:je|nous|on) (?P<about>\w+) (?:\w+ ){0,2}(?:le|les|tous les|chaque) "
                  r"(?:lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche)"),
        # Russian
        ("name", r"\b(?:зови(?:те)? меня|меня зовут)\s+\w"),
        ("home", r"\b(?:я (?:теперь )?жив[уё]|мы жив[её]м|я переехала?|мы переехали) (?:\w+ )?(?:в|на)\s+\w"),
        ("work", r"\bя (?:теперь )?работаю (?:в|на|у)?\s*\w"),
        ("birthday", r"\bмой день рождения\b|\bу меня день рождения\b"),
        ("allergy", r"\bу меня аллергия на (?P<about>\w+)"),
        ("diet", r"\bя (?:веган\w*|вегетариан\w*)\b|\bя не ем\b"),
        ("preference", r"\b(?:я|мы) (?:\w+ )?предпочита(?:ю|ем) (?P<about>\w+)(?: (?P<head>\w+))?"),
        ("habit", r"\b(?:я|мы) (?:\w+ )?(?P<about>\w+) (?:\w+ )?по (?:понедельникам|вторникам|средам|четвергам"
                  r"|пятницам|субботам|воскресеньям)"),
    )
)  # fmt: skip
_LONGEST = 300


def statements_in(text: str) -> list[Statement]:
    """The sentences of a message in which its speaker states something of themself; a question states nothing.

    Rules are among them only where each sentence of the message is a statement or a single word, such as "Hi".
    """
    own = own_words(text)
    sentences = sentences_of(own)
    stated = [_statement(sentence, own) for sentence in sentences]
    found = [statement for statement in stated if statement is not None]
    short = [len(sentence.of(own).split()) == 1 for sentence in sentences]
    if is_all_own(text) and all(each or is_short for each, is_short in zip(stated, short, strict=True)):
        return found
    return [statement for statement in found if not statement.is_rule]


def _statement(sentence: Sentence, text: str) -> Statement | None:
    words = sentence.of(text).replace("’", "'")
    if len(words) > _LONGEST or words.rstrip().endswith(("?", "？")):
        return None
    for slot, pattern in _RULES:
        if match := pattern.search(words):
            about = _about(match)
            return Statement(slot=f"{slot}:{about}" if about else slot, sentence=sentence)
    return None


def _about(match: re.Match[str]) -> str | None:
    """What a statement is about: the noun at the head, as in "window seats", where one follows."""
    said = match.groupdict()
    head = (said.get("head") or "").lower()
    if head and not any(head in words for words in STOP_WORDS.values()):
        return stems_of(head)[0]
    about = said.get("about")
    return stems_of(about.lower())[0] if about else None
