"""Whom a question is about: the one who asks, or the one who is asked."""

from memory_engine.lexical.analysis import words_of

_ASKER_WORDS = """
    i i'm i've i'd i'll me my mine myself we we're we've our ours us
    je moi mon ma mes mien mienne nous notre nos
    я меня мне мной мой моя моё мое мои моего моей моих моему моим мою мы нас нам наш наша наше наши нашей нашего
    ich mich mir mein meine meinen meinem meiner meines wir uns unser unsere unseren unserem unserer
    yo mí mi mis mío mía míos mías conmigo nosotros nosotras nuestro nuestra nuestros nuestras
"""
_ASKED_WORDS = """
    you you're you've you'd you'll your yours
    tu toi ton ta tes tien tienne vous votre vos
    ты тебя тебе тобой твой твоя твоё твои твоего твоей вы вас вам вами ваш ваша ваше ваши
    du dich dir dein deine deinen deinem deiner ihnen
    tú ti contigo usted ustedes vos tuyo tuya
"""
_ASKER, _ASKED = frozenset(_ASKER_WORDS.split()), frozenset(_ASKED_WORDS.split())
_ASKER_PREFIXES = ("j'", "m'")
_ASKER_SIGNS, _ASKED_SIGNS = "我咱", "你您妳"


def is_about_the_asker(question: str) -> bool:
    """Whether the question speaks of the person who puts it, and not of the one who is to answer."""
    words = words_of(question)
    asked = any(word in _ASKED for word in words) or any(sign in question for sign in _ASKED_SIGNS)
    asker = any(word in _ASKER or word.startswith(_ASKER_PREFIXES) for word in words)
    return not asked and (asker or any(sign in question for sign in _ASKER_SIGNS))
