"""Language tags (BCP 47, RFC 5646): their form, which prompts fit them, what to call them. Pure.

A prompt fits a tag when it is in the same language and script; the region does not matter, except that it
tells the script of Chinese. So zh-TW is asked in zh-Hant and pt-BR in pt, but hi-Latn is not asked in hi.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

Language = str
"""A tag in the form that :func:`canonical` gives it."""

LANGUAGES: tuple[Language, ...] = ("en", "zh-Hans", "zh-Hant", "ja", "ko", "es", "fr", "de", "pt", "ar", "hi")
"""Languages with prompts of their own."""

MAX_TAG_CHARS = 64

_TAG = re.compile(
    r"(?P<language>[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4,8})"
    r"(?:-(?P<script>[a-z]{4}))?"
    r"(?:-(?P<region>[a-z]{2}|[0-9]{3}))?"
    r"(?P<rest>(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*"  # variants
    r"(?:-[0-9a-wyz](?:-[a-z0-9]{2,8})+)*"  # extensions
    r"(?:-x(?:-[a-z0-9]{1,8})+)?)",  # private use
    re.IGNORECASE | re.ASCII,
)
_NO_LANGUAGE = {"mis", "mul", "und", "zxx"}
"""Codes that say that a language is not known, or that there are several, or none."""

_RENAMED = {"cmn": "zh", "in": "id", "iw": "he", "ji": "yi"}
"""Codes that mean the same as another one: withdrawn ones, and Mandarin, which is written as zh."""

_HANT_REGIONS = {"HK", "MO", "TW"}
_SCRIPT = {
    "ar": "Arab", "de": "Latn", "en": "Latn", "es": "Latn", "fr": "Latn", "hi": "Deva", "ja": "Jpan",
    "ko": "Kore", "pt": "Latn", "zh": "Hans",
}  # fmt: skip
"""What each language with prompts is written in when its tag does not say."""

_SCRIPT_NAMES = {
    "Arab": "Arabic", "Cyrl": "Cyrillic", "Deva": "Devanagari", "Hans": "simplified", "Hant": "traditional",
    "Latn": "Latin",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Parts:
    language: str
    script: str
    """As the tag says, else as the language is usually written, else ""."""
    tag: str


def canonical(tag: str) -> Language:
    """The tag in its usual form: ``ZH_tw`` becomes ``zh-TW``.

    Only the form is checked, not whether the codes are registered. Raises ValueError when it is no tag of one
    language.
    """
    return _parts(tag).tag


def prompt_tag(tag: str) -> Language:
    """Which of :data:`LANGUAGES` a model is asked in: the one that fits, else English.

    Raises ValueError as :func:`canonical`.
    """
    parts = _parts(tag)
    return next((own for own in LANGUAGES if _same(_parts(own), parts)), "en")


def has_prompts(tag: str) -> bool:
    """There are prompts in the language and script of a tag. Raises ValueError as :func:`canonical`."""
    return same(prompt_tag(tag), tag)


def same(one: str, other: str) -> bool:
    """Two tags are of the same language in the same script; false for what is no tag at all."""
    try:
        return _same(_parts(one), _parts(other))
    except ValueError:
        return False


def english_name(tag: str) -> str:
    """What to call a language in an English sentence; for a code without a name here, the tag itself.

    A script that is not the usual one is named too: ``hi-Latn`` is Hindi (Latin script). Raises ValueError as
    :func:`canonical`.
    """
    parts = _parts(tag)
    name = _NAMES.get(parts.language, f"the language {parts.tag}")
    usual = parts.script in ("", _SCRIPT.get(parts.language)) and parts.language != "zh"
    return name if usual else f"{name} ({_SCRIPT_NAMES.get(parts.script, parts.script)} script)"


def _parts(tag: str) -> _Parts:
    match = _TAG.fullmatch(tag.strip().replace("_", "-")) if len(tag) <= MAX_TAG_CHARS else None
    language = match["language"].lower().rpartition("-")[2] if match else ""
    if match is None or language in _NO_LANGUAGE:
        raise ValueError("a language is given as a BCP 47 tag like en, zh-Hant or pt-BR")
    language = _RENAMED.get(language, language)
    said, region = (match["script"] or "").title(), (match["region"] or "").upper()
    script = said or _SCRIPT.get(language, "")
    if language == "zh" and not said and region in _HANT_REGIONS:
        script = "Hant"
    tag = "-".join(filter(None, (language, said, region)))
    return _Parts(language, script, tag + match["rest"].lower())


def _same(one: _Parts, other: _Parts) -> bool:
    return (one.language, one.script) == (other.language, other.script)


_NAMES = dict(
    line.strip().split(" ", 1)
    for line in """
aa Afar; ab Abkhazian; af Afrikaans; ak Akan; am Amharic; an Aragonese; ar Arabic; as Assamese; av Avaric;
ay Aymara; az Azerbaijani; ba Bashkir; be Belarusian; bg Bulgarian; bho Bhojpuri; bm Bambara; bn Bangla; bo
Tibetan; br Breton; bs Bosnian; ca Catalan; ce Chechen; ceb Cebuano; ch Chamorro; ckb Central Kurdish; co
Corsican; cs Czech; cu Church Slavic; cv Chuvash; cy Welsh; da Danish; de German; dv Divehi; dz Dzongkha;
ee Ewe; el Greek; en English; eo Esperanto; es Spanish; et Estonian; eu Basque; fa Persian; ff Fula; fi
Finnish; fil Filipino; fj Fijian; fo Faroese; fr French; fy Western Frisian; ga Irish; gd Scottish Gaelic;
gl Galician; gn Guarani; gsw Swiss German; gu Gujarati; gv Manx; ha Hausa; haw Hawaiian; he Hebrew; hi
Hindi; hmn Hmong; ho Hiri Motu; hr Croatian; ht Haitian Creole; hu Hungarian; hy Armenian; hz Herero; ia
Interlingua; id Indonesian; ie Interlingue; ig Igbo; ii Sichuan Yi; ik Inupiaq; ilo Iloko; io Ido; is
Icelandic; it Italian; iu Inuktitut; ja Japanese; jv Javanese; ka Georgian; kg Kongo; ki Kikuyu; kj
Kuanyama; kk Kazakh; kl Kalaallisut; km Khmer; kn Kannada; ko Korean; kr Kanuri; ks Kashmiri; ku Kurdish;
kv Komi; kw Cornish; ky Kyrgyz; la Latin; lb Luxembourgish; lg Ganda; li Limburgish; ln Lingala; lo Lao; lt
Lithuanian; lu Luba-Katanga; lv Latvian; mai Maithili; mg Malagasy; mh Marshallese; mi Māori; mk
Macedonian; ml Malayalam; mn Mongolian; mr Marathi; ms Malay; mt Maltese; my Burmese; na Nauru; nan Min Nan
Chinese; nb Norwegian Bokmål; nd North Ndebele; ne Nepali; ng Ndonga; nl Dutch; nn Norwegian Nynorsk; no
Norwegian; nr South Ndebele; nv Navajo; ny Nyanja; oc Occitan; oj Ojibwa; om Oromo; or Odia; os Ossetic; pa
Punjabi; pi Pali; pl Polish; ps Pashto; pt Portuguese; qu Quechua; rm Romansh; rn Rundi; ro Romanian; ru
Russian; rw Kinyarwanda; sa Sanskrit; sc Sardinian; sd Sindhi; se Northern Sami; sg Sango; si Sinhala; sk
Slovak; sl Slovenian; sm Samoan; sn Shona; so Somali; sq Albanian; sr Serbian; ss Swati; st Southern Sotho;
su Sundanese; sv Swedish; sw Swahili; ta Tamil; te Telugu; tg Tajik; th Thai; ti Tigrinya; tk Turkmen; tl
Tagalog; tlh Klingon; tn Tswana; to Tongan; tr Turkish; ts Tsonga; tt Tatar; tw Twi; ty Tahitian; ug
Uyghur; uk Ukrainian; ur Urdu; uz Uzbek; ve Venda; vi Vietnamese; vo Volapük; wa Walloon; war Waray; wo
Wolof; xh Xhosa; yi Yiddish; yo Yoruba; yue Cantonese; za Zhuang; zh Chinese; zu Zulu
""".replace("\n", " ").split(";")
)
"""English names (those of Unicode CLDR) by ISO 639 code: all of two letters, and some of three."""
