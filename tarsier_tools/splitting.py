"""Taking a caption apart into the events that it tells of. Pure, for all languages with prompts.

Every claim is a stretch of the caption, letter by letter: nothing is reworded, so that a verdict on a claim
is one on the caption's own words. Where a cut is doubtful none is made: a claim that says two things can
still be checked, half of one cannot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tarsier_tools.languages import Language, prompt_tag


@dataclass(frozen=True, slots=True)
class Claim:
    """One event that a caption tells of.

    Attributes:
        text: the caption's own words, without the stop at their end.
        follows: the caption says that it comes after the claim before it: "then", or the like.
        denies: it says what does not happen: "nothing", "nobody", or the like.
    """

    text: str
    follows: bool = False
    denies: bool = False


_CLOSING = r"[\"'”’»)\]」』】）》]"
_END = re.compile(
    rf"(?P<wide>[。！？｡．।॥؟۔]+)(?P<quoted>{_CLOSING}*)"
    rf"|(?P<narrow>[.!?…]+)(?P<closing>{_CLOSING}*)(?=\s|$)"
    r"|[;；](?=\s|[^\x00-\x7f])|\n+"
)
"""Where sentences end; stops of Asian scripts need no space behind them."""

_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'])(?:[^\W\d_]"  # initials, and the last letter of e.g., p.m., z. B., U.S.
    r"|(?:[^\W\d_]\.\s?)+[^\W\d_]"
    r"|mr|mrs|ms|dr|prof|st|jr|sr|vs|etc|no|nr|fig|approx|ca|mt|lt|gen|sgt|inc|ltd"
    r"|bzw|usw|evtl|ggf|hr|str"  # German
    r"|sra?|dra|uds?|ej|aprox|núm|av|mm|mme|mlle|env"  # Spanish, Portuguese, French
    r")$",
    re.IGNORECASE,
)
_ORDINAL = re.compile(r"\b[0-9]{1,2}$")  # "am 3. Mai" in German

_EN_SUBJECT = "an?|the|his|her|its|their|he|she|it|they|this|that|these|those|another|one|two|three|some"
_FR_SUBJECT = "la|les?|une?|des|ils?|elles?|son|sa|ses|cet(?:te)?|ces?"
_DE_SUBJECT = "der|die|das|eine?|er|sie|es|ihre?|seine?"
_ZH_THEN = "然后|然後|接着|接著|随后|隨後|之后|之後|最后|最後"


def _then(before: str, words: str, after: str) -> re.Pattern[str]:
    """Matches the words between two events, and those that a sentence begins with."""
    return re.compile(rf"(?:{before}|^)(?:{words}){after}", re.IGNORECASE)


_THEN = {
    # English, French and German need a subject: without one of its own, a clause stays with the one before.
    "en": _then(r",?\s(?:and\s)?", "then|next|afterwards|finally", rf",?\s(?=(?:{_EN_SUBJECT})\b)"),
    "fr": _then(r",?\s(?:et\s)?", "puis|ensuite|enfin", rf",?\s(?=(?:{_FR_SUBJECT})\s|l['’])"),
    "de": re.compile(
        rf"(?:,?\s(?:und\s)?|^)(?=(?:dann|danach|anschließend)\s\w+\s(?:{_DE_SUBJECT})\b)", re.I
    ),
    "es": _then(r"(?:,|\sy)\s(?:y\s)?", "luego|después|entonces|finalmente", r",?\s"),
    "pt": _then(r"(?:,|\se)\s(?:e\s)?", "depois|em seguida|então|finalmente", r",?\s"),
    "ar": _then(r"\s?،\s|\s", "و?ثم", r"\s"),
    "hi": _then(r",\s(?:और\s)?", "फिर|उसके बाद|इसके बाद", r",?\s"),
    "zh-Hans": _then(r"[，；]", _ZH_THEN, "，?"),
    "zh-Hant": _then(r"[，；]", _ZH_THEN, "，?"),
    "ja": _then("[、，]", "そして|その後|それから|次に|最後に", "、?"),
    "ko": _then(r",\s(?:그리고\s)?", r"그\s?다음에?|그런 다음|이어서|그 후에?|마지막으로", r",?\s"),
}

_NOT = {
    "en": re.compile(r"(?:nothing|nobody|none|no)\b|.*\b(?:not|never)\b|.*n['’]t\b", re.I),
    "fr": re.compile(
        r"(?:rien|personne|aucune?)\b|.*\b(?:n['’e].*\b(?:pas|rien|personne|aucune?|jamais))\b", re.I
    ),
    "de": re.compile(r".*\b(?:nichts?|niemand|keine?[rsmn]?|nie)\b", re.I),
    "es": re.compile(r"(?:nada|nadie)\b|.*\bno\b", re.I),
    "pt": re.compile(r"(?:nada|ninguém)\b|.*\bnão\b", re.I),
    "ar": re.compile(r".*\b(?:لا|لم|لن|ليس|ليست)\b"),
    "hi": re.compile(r".*नहीं"),
    "zh-Hans": re.compile(".*[没未]|.*不(?:动|再)"),
    "zh-Hant": re.compile(".*[沒未]|.*不(?:動|再)"),
    "ja": re.compile(".*(?:ない|ません|なかった)$"),
    "ko": re.compile(r".*(?:없|않|못하)|.*\b(?:안|못)\s"),
}

_LEADING = re.compile(r"\s*(?:[-*•–—]\s+|#+\s+|\(?[0-9]{1,3}[.)]\s+)?")
_FRAMES = re.compile(r"<\s*frames?\b[^>]*>", re.IGNORECASE)
_LETTER = re.compile(r"[^\W\d_]")


def claims(text: str, language: Language = "en") -> tuple[Claim, ...]:
    """The events that a caption tells of, in its own order.

    Sentences end at the stops of all scripts, at line ends and semicolons, and not inside numbers,
    abbreviations or quotations. A sentence is cut at "then" and the like where what follows can stand alone.
    ``<frame: i-j>``, bullets and numbers of lists belong to no claim; what is said twice in the same words is
    one claim. Raises ValueError for what is no language tag.
    """
    own = prompt_tag(language)
    found: dict[str, Claim] = {}
    for sentence in _sentences(_FRAMES.sub("\n", text), own):
        for number, clause in enumerate(_THEN[own].split(sentence)):
            words = clause.strip().rstrip(",，、:：").rstrip()
            if _LETTER.search(words):
                found.setdefault(
                    words.casefold(), Claim(words, number > 0 and bool(found), bool(_NOT[own].match(words)))
                )
    return tuple(found.values())


def _sentences(text: str, language: Language) -> list[str]:
    sentences = []
    start = _after_marker(text, 0)
    for end in _END.finditer(text):
        if end.start() < start or _goes_on(text, end, language):
            continue
        quoted = end["quoted"] or end["closing"]
        sentences.append(text[start : end.end() if quoted else end.start()])
        start = _after_marker(text, end.end())
    return [*sentences, text[start:]]


def _after_marker(text: str, start: int) -> int:
    """Where the words of a sentence begin, behind white space, a bullet or the number of a list."""
    match = _LEADING.match(text, start)
    return match.end() if match else start


def _goes_on(text: str, end: re.Match[str], language: Language) -> bool:
    """What looks like the end of a sentence is inside one."""
    rest = text[end.end() :]
    if end["quoted"]:
        return bool(rest.strip()) and not rest.startswith("\n")
    if not end["narrow"]:
        return False
    after = rest.lstrip(" \t\"'“«(")[:1]
    if after.islower():
        return True
    before = text[max(0, end.start() - 16) : end.start()]
    if end["narrow"] != "." or not after or after == "\n":
        return False
    return bool(_ABBREVIATION.search(before) or (language == "de" and _ORDINAL.search(before)))
