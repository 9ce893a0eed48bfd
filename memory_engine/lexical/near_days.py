"""Days named without a month, "on Monday" or "the 10th", and whether the words around tell that they are past.

Each pattern is written as those of `time_words` are. A clause that has no word of the past, or one of what is ahead,
names no day: "on Monday we deploy" is a plan.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from memory_engine.lexical.time_words import languages

#: What ends a clause in any language.
_MARKS = r"[,;:()!?—，；：。！？、\n]|\s[-–]\s"
_END = r"\W*$|\s?[,.;:!?)](?!\d)"


@dataclass(frozen=True, kw_only=True, slots=True)
class NearDays:
    """How one language names such days, and tells past from future."""

    #: More specific ones first: none reads what another has read.
    patterns: Sequence[re.Pattern[str]]
    past: re.Pattern[str]
    ahead: re.Pattern[str]
    #: What is dated by the day on which it was written or held: "the letter of".
    record: re.Pattern[str]
    #: What ends a clause, itself within it: a mark, a conjunction, or an infinitive that tells a plan.
    cuts: re.Pattern[str]

    def are_past(self, plain: str, match: re.Match[str]) -> bool:
        """Whether the clause in which a day is named speaks of the past."""
        cuts = [cut.span() for cut in self.cuts.finditer(plain)]
        start = max((end for _, end in cuts if end <= match.start()), default=0)
        if not re.search(r"\w", plain[: match.start()]):
            # "On Monday, we agreed" is one clause.
            cuts = [cut for cut in cuts if re.search(r"\w", plain[match.end() : cut[0]])]
        end = min((end for begin, end in cuts if begin >= match.end()), default=len(plain))
        clause = plain[start:end]
        is_past = self.record.match(match.group()) or self.past.search(clause)
        return bool(is_past) and not self.ahead.search(clause)


def near_days(language: str) -> NearDays:
    """Those of one language, by its name in `time_words`."""
    return _known()[language]


@cache
def _known() -> Mapping[str, NearDays]:
    written = {
        "english": _ENGLISH, "french": _FRENCH, "german": _GERMAN, "spanish": _SPANISH, "russian": _RUSSIAN,
        "chinese": _CHINESE,
    }  # fmt: skip
    return {
        name: NearDays(
            patterns=languages()[name][0].compiled(each.patterns),
            past=re.compile(each.past),
            ahead=re.compile(each.ahead),
            record=re.compile(each.record),
            cuts=re.compile(f"{_MARKS}|{each.cuts}"),
        )
        for name, each in written.items()
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Written:
    """The expressions of `NearDays`, before the words are put in."""

    patterns: Sequence[str]
    past: str
    ahead: str
    record: str
    cuts: str


def _followed(words: str) -> str:
    """A number is a day where the clause ends or one of these follows, not a noun: "the 2nd attempt"."""
    return rf"(?={_END}|\s+(?:{words})\b)"


_ENGLISH_RECORD = (
    r"\b(?:letter|minutes|notes|decision|agreement|message|e?-?mail|discussion|conversation) (?:of|from)\b"
)
_FRENCH_RECORD = r"\b(?:lettre|mail|message|notes?|compte rendu|décision|discussion|conversation) d[eu]\b"
_GERMAN_RECORD = r"\b(?:brief|protokoll|mail|nachricht|beschluss|gespräch|besprechung|notiz|notizen)e?s? vom\b"
_SPANISH_RECORD = r"\b(?:carta|correo|mensaje|notas|acta|decisión|conversación) del\b"
_RUSSIAN_RECORD = r"\b(?:письм|решени|протокол|разговор|сообщени)\w* от\b"
_SPANISH_DUE = r"(?<!\bpara )(?<!\bhasta )(?<!\bantes )"

_ENGLISH = _Written(
    patterns=(
        r"\b<weekday>,? (?:the )?<day>(?:st|nd|rd|th)\b",
        rf"{_ENGLISH_RECORD} (?:<weekday>|the <day>(?:st|nd|rd|th))\b(?! \d)",
        r"(?:^\W*|\b(?:on|of|from|since) )<weekday>\b(?!,? (?:the )?(?:\d|<month>))",
        r"\b<weekday>'s\b",
        r"(?:^\W*|\b(?:on|of|from|since) )the <day>(?:st|nd|rd|th)\b"
        + _followed("we|you|i|he|she|they|it|and|but|with|about|as|when|in|at|by|that|was|were"),
    ),
    past=(
        r"\b(?:was|were|wasn't|weren't|did|didn't|had|hadn't|agreed|said|told|wrote|sent|spoke|met|went|came|saw|got"
        r"|made|gave|took|brought|found|left|began|ran|chose|kept|heard|thought|knew|lost|won|bought|built|broke|fell"
        r"|held|paid|sold|spent|wore|drove|ate|flew|forgot|showed|(?!hundred|embed|sacred)\w{2,}[^e\W]ed"
        r")\b"
    ),
    ahead=(
        r"\b(?:will|won't|shall|should|must|may|might|going to|let's|let us|next|tomorrow|needs?|(?:have|has) to"
        r"|supposed|scheduled|planned|expected"
        r"|(?:is|are|am|be|being|(?:it|that|he|she)'s|\w+'(?:re|m))(?: \w+)? \w+ed)\b|'ll\b"
    ),
    record=_ENGLISH_RECORD,
    cuts=r"\b(?:and|or|but|so|because|to|that|which|what|who|if|when|while|until|would)\b",
)
_FRENCH = _Written(
    patterns=(
        r"\b<weekday> <day>(?:er)?\b(?!\s?h\b| heures?)",
        rf"{_FRENCH_RECORD} (?:<weekday>|<day>(?:er)?)\b(?! \d)",
        r"(?<!\ble )(?<!\bles )(?<!\bun )(?<!\bchaque )(?<!\bavant )(?<!\bpour )(?<!\bau )(?<!\bà )(?<!d'ici )"
        r"\b<weekday>\b(?! prochain| \d)",
        r"\b(?:le|du) <day>(?:er)?\b" + _followed("on|nous|je|tu|ils?|elles?|vous|et|avec|à|dans|que|pour|comme|par"),
    ),
    past=(
        r"\b(?:ai|as|a|avons|avez|ont|avai\w+)(?: \w+){0,2} \w+(?:ée?s?|u[es]?|i[ts]?e?s?|ert)\b"
        r"|\b(?:suis|es|est|sommes|êtes|sont)(?: \w+)? (?:all|venu|parti|arriv|pass|rest|tomb|sorti|rentr)\w*"
        r"|\b(?:étai|avai|disai|parlai|pensai|voulai)\w+|\b(?:comme|déjà|été|vus?) (?:convenu|dit|décidé|vu|avec)\b"
    ),
    ahead=(
        r"\b(?:va|vas|vais|allons|allez|vont|doit|doivent|devons|faut|faudra|demain|prochaine?|peut|pouvons|sera|seront"
        r"|aura|auront|(?:prévu|programmé|planifié|reporté|repoussé)\w*|\w{2,}(?:erai|eras|era|erons|erez|eront))\b"
    ),
    record=_FRENCH_RECORD,
    cuts=r"\b(?:et|ou|mais|donc|car|que|si|quand|pour|qu'|(?:de|à) \w+(?:er|ir|re)\b|d'\w+(?:er|ir|re)\b)",
)
_GERMAN = _Written(
    patterns=(
        r"\b<weekday>,?(?: de[mnr])? <day>\.(?!\d)",
        rf"{_GERMAN_RECORD} (?:<weekday>\b|<day>\.(?!\d))",
        r"(?:^\W*|\b(?:am|seit|vom|von) )<weekday>\b(?!,?(?: de[mnr])? \d)",
        r"\b(?:am|vom|seit dem) <day>\.(?!\d)"
        + _followed(
            "habe?n?|hat|hatten?|war|waren|wurden?|wir|ich|du|ihr|sie|er|und|mit|über|im|in|vereinbart|besprochen"
            r"|beschlossen|\w*ge\w+[tn]"
        ),
    ),
    past=(
        r"\b(?:war|waren|warst|wurden?|hatten?|sagten?|schrieb|schrieben|sprachen?|kam|kamen|ging|gingen|gab|gaben|sah"
        r"|sahen|fand|fanden|beschlossen|vereinbart|besprochen|abgesprochen)\b"
        r"|\b(?:habe?n?|hast|hat|habt|ist|sind|bin)\b.*\b(?:\w{0,6}ge\w+|(?:be|ver|ent|er|zer|unter)\w+)(?:t|en)\b"
        r"|\b(?:\w{0,6}ge\w+|(?:be|ver|ent|er|zer|unter)\w+)(?:t|en) (?:habe?n?|hast|hat|habt)\b"
    ),
    ahead=(
        r"\b(?:wird|werden|werde|soll|sollen|sollte|sollten|muss|müssen|kann|können|will|wollen|möchten?|morgen"
        r"|nächste[nmrs]?|kommende[nmrs]?|geplant|vorgesehen|angesetzt|verschoben)\b"
    ),
    record=_GERMAN_RECORD,
    cuts=r"\b(?:und|oder|aber|dass|ob|weil|denn|wenn|damit)\b",
)
_SPANISH = _Written(
    patterns=(
        r"\b<weekday> <day>\b(?! de\b|:)",
        rf"{_SPANISH_RECORD} (?:<weekday>|<day>)\b(?! \d)",
        rf"{_SPANISH_DUE}\b(?:el|del) <weekday>\b(?! que viene| próximo| siguiente| \d)",
        rf"{_SPANISH_DUE}\b(?:el|del) <day>\b"
        + _followed("y|con|que|en|como|por|sobre|nos|me|te|lo|la|hablamos|acordamos|quedamos|decidimos|dijimos"),
    ),
    past=(
        r"\b(?:he|has|ha|hemos|han|había\w*)(?: \w+)? \w+(?:ado|ido|cho|sto|to)\b"
        r"|\b(?:\w{2,}ó|\w{2,}(?:aron|ieron|aste|iste)|dij\w+|fue|fueron|hizo|hicimos|hice|tuv\w+|estuv\w+|vin\w+|puso"
        r"|acordamos|decidimos|hablamos|vimos|era|eran|estaba\w*|acordado|dicho|decidido)\b|\bcomo quedamos\b"
    ),
    ahead=(
        r"\b(?:será\w*|voy a|vas a|va a|vamos a|van a|hay que|debe\w*|tenemos que|próxim\w+|mañana|puede|podemos"
        r"|previst[oa]s?|\w+[aei]r(?:é|ás|á|emos|án))\b"
    ),
    record=_SPANISH_RECORD,
    cuts=r"\b(?:y|o|pero|para|porque|que|si|cuando|\w{2,}[aei]r)\b",
)
_RUSSIAN = _Written(
    patterns=(
        r"(?<!\bна )(?<!\bдо )\b<weekday>,? <day>(?:-?го)?\b(?!:)",
        rf"{_RUSSIAN_RECORD} (?:<weekday>|<day>(?:-?го|-?го числа| числа))\b(?! \d)",
        r"\b(?:во?|со?|от|после) <weekday>\b(?! \d)",
        r"(?<!\bна )(?<!\bдо )(?<!\bк )\b<day>(?:-?го|-?го числа| числа)\b"
        + _followed(
            "мы|я|ты|он|она|они|вы|и|с|со|в|что|как|по|об?|про|сказала?|решила?|писала?|обещала?|\\w+ли(?:сь)?"
        ),
    ),
    past=(
        r"\b(?!(?:неде|моде|дета|це)ли\b)\w{2,}[аяиеуыё]ли(?:сь)?\b|\bбыл[аои]?\b|\bбыли\b|\b(?:ш|приш|уш|вош)(?:ёл|ел|ли)\b"
        r"|\b(?!(?:кан|матери|журн|сигн|персон|термин|интерв)ал|(?:прав|с)ила|(?:отд|разд|пред|уз|т|д)ел[ао]?\b)"
        r"\w{2,}[аяиеуыё]л[ао]?(?:с[ья])?\b|\b(?:решено|согласовано|отправлено|записано|сказано)\b"
    ),
    ahead=(
        r"\b(?:буд\w+|нужно|надо|долж\w+|следующ\w+|завтра|можно|давай\w*|хо(?:чу|тим)|планиру\w+|намечен\w*"
        r"|запланирова\w*|назнач\w*)\b"
    ),
    record=_RUSSIAN_RECORD,
    cuts=r"\b(?:и|или|а|но|что|чтобы|если|когда|поэтому|котор\w+|\w{2,}(?:ть|ться|ти))\b",
)
# A time stands before its verb in Chinese: "说好周一部署" is a plan, "周一说好部署" was said on Monday.
_CHINESE_PAST = r"说好|說好|商量好|约好|約好|决定|決定|定下|[说說讨討谈談聊见見去开開做写寫提论論]过|了(?!解)|提到"
_CHINESE_AFTER = rf"(?!之?前|以前)(?=[^,;:()!?，；：。！？、\n]*(?:{_CHINESE_PAST}))"
_CHINESE = _Written(
    patterns=(
        rf"(?<![下每])<weekday>,?<handay> ?[日号號]{_CHINESE_AFTER}",
        rf"(?<![下每])<weekday>{_CHINESE_AFTER}",
        rf"(?<![\d月每一二三四五六七八九十])<handay> ?[日号號](?![楼樓线線机機门門位房院店车車桌]){_CHINESE_AFTER}",
    ),
    past=_CHINESE_PAST,
    ahead=r"将|將|打算|准备|準備|计划|計劃|(?<![重主需])要(?!求)|(?<![开開机機])会(?![议議])|请|請|应该|應該|明天",
    record="(?!)",
    cuts=r"(?:说好|說好|商量好|约好|約好|决定|決定)了?",
)
