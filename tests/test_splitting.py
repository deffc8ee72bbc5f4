"""Captions taken apart into claims: nothing is lost, nothing reworded, in many scripts."""

from __future__ import annotations

import numpy as np
import pytest

from tarsier_tools.selfcheck import language as words
from tarsier_tools.selfcheck.world import random_scene
from tarsier_tools.splitting import Claim, claims

CAPTIONS = [
    ("en", "A dog runs. A cat sleeps!  Does it? Yes…", ["A dog runs", "A cat sleeps", "Does it", "Yes"]),
    ("en", "A dog runs, then the cat sleeps.", ["A dog runs", "the cat sleeps"]),
    (
        "en",
        "A dog runs and then the cat sleeps. Finally, it wakes.",
        ["A dog runs", "the cat sleeps", "it wakes"],
    ),
    ("en", "A man opens the door, then walks out.", ["A man opens the door, then walks out"]),
    ("en", "A dog runs; a cat sleeps.\nRain falls", ["A dog runs", "a cat sleeps", "Rain falls"]),
    (
        "en",
        "Dr. Lee weighs 3.5 kg of rice, e.g. for Mr. A. Wu.",
        ["Dr. Lee weighs 3.5 kg of rice, e.g. for Mr. A. Wu"],
    ),
    (
        "en",
        "At 10 a.m. the U.S. team visits www.example.com.",
        ["At 10 a.m. the U.S. team visits www.example.com"],
    ),
    (
        "en",
        'He shouts "Stop!" and runs. He says "Go." She goes.',
        ['He shouts "Stop!" and runs', 'He says "Go."', "She goes"],
    ),
    ("en", "She waits... then runs. He waits...", ["She waits... then runs", "He waits"]),
    (
        "en",
        "1. A dog runs.\n2) A cat sleeps.\n- Rain falls.\n• Snow too.",
        ["A dog runs", "A cat sleeps", "Rain falls", "Snow too"],
    ),
    ("en", "<frame: 1-3> A dog runs.\n<frame: 4-6> A cat sleeps", ["A dog runs", "A cat sleeps"]),
    (
        "zh-Hans",
        "一只狗在跑，然后一只猫睡着了。接着下雨了！3.5公斤？",
        ["一只狗在跑", "一只猫睡着了", "下雨了", "3.5公斤"],
    ),
    ("zh-Hant", "他說「停！」，然後走了。貓在睡", ["他說「停！」", "走了", "貓在睡"]),
    ("zh-TW", "狗在跑，隨後貓睡了；下雨了。", ["狗在跑", "貓睡了", "下雨了"]),
    (
        "ja",
        "犬が走る。その後、猫が寝る。「止まれ！」と叫ぶ、そして雨が降る。",
        ["犬が走る", "猫が寝る", "「止まれ！」と叫ぶ", "雨が降る"],
    ),
    ("ko", "개가 달린다. 고양이가 자고, 그런 다음 비가 온다.", ["개가 달린다", "고양이가 자고", "비가 온다"]),
    ("hi", "कुत्ता दौड़ता है। बिल्ली सोती है, फिर बारिश होती है॥", ["कुत्ता दौड़ता है", "बिल्ली सोती है", "बारिश होती है"]),
    ("ar", "يركض الكلب، ثم تنام القطة. هل تمطر؟ نعم", ["يركض الكلب", "تنام القطة", "هل تمطر", "نعم"]),
    ("ur", "کتا دوڑتا ہے۔ بلی سوتی ہے۔", ["کتا دوڑتا ہے", "بلی سوتی ہے"]),
    (
        "de",
        "Am 3. Mai rennt z. B. ein Hund, und dann schläft die Katze.",
        ["Am 3. Mai rennt z. B. ein Hund", "dann schläft die Katze"],
    ),
    ("fr", "M. Roy rit, puis l'homme part. Où ? Là !", ["M. Roy rit", "l'homme part", "Où", "Là"]),
    ("fr", "Un chien court puis dort.", ["Un chien court puis dort"]),
    ("es", "El Sr. Paz ríe, luego sale. ¿Adónde? ¡Fuera!", ["El Sr. Paz ríe", "sale", "¿Adónde", "¡Fuera"]),
    ("pt", "O cão corre e depois dorme. Em seguida, chove.", ["O cão corre", "dorme", "chove"]),
    ("sw", "Mbwa anakimbia. Paka analala.", ["Mbwa anakimbia", "Paka analala"]),
]


@pytest.mark.parametrize(("language", "caption", "expected"), CAPTIONS, ids=[text for _, text, _ in CAPTIONS])
def test_a_caption_falls_into_its_claims(language: str, caption: str, expected: list[str]) -> None:
    assert [claim.text for claim in claims(caption, language)] == expected


@pytest.mark.parametrize(("language", "caption", "_"), CAPTIONS, ids=[text for _, text, _ in CAPTIONS])
def test_every_claim_stands_in_the_caption_letter_by_letter_and_in_order(
    language: str, caption: str, _: list[str]
) -> None:
    at = 0
    for claim in claims(caption, language):
        at = caption.index(claim.text, at) + len(claim.text)


@pytest.mark.parametrize("caption", ["", "  \n ", "...", "。！", "<frame: 1-2>", "- \n1."])
def test_a_caption_without_words_claims_nothing(caption: str) -> None:
    assert claims(caption) == ()


def test_what_is_said_twice_is_one_claim() -> None:
    assert claims("A dog runs. A cat sleeps, then a dog runs.") == (
        Claim("A dog runs"),
        Claim("A cat sleeps"),
    )


@pytest.mark.parametrize(
    ("language", "caption", "follows"),
    [
        ("en", "A dog runs, then a cat sleeps. It rains. Then it stops.", [False, True, False, True]),
        ("en", "Then a dog runs.", [False]),  # after what?
        ("zh-Hans", "狗在跑，然后猫睡了。下雨了。接着停了。", [False, True, False, True]),
        ("de", "Der Hund rennt. Dann schläft die Katze, danach regnet es.", [False, True, True]),
        ("ja", "犬が走る。次に猫が寝る。", [False, True]),
    ],
)
def test_a_claim_knows_whether_the_caption_puts_it_after_the_one_before(
    language: str, caption: str, follows: list[bool]
) -> None:
    assert [claim.follows for claim in claims(caption, language)] == follows


@pytest.mark.parametrize("tag", words.LANGUAGES)
def test_captions_of_the_shapes_world_fall_into_their_events(tag: words.Language) -> None:
    rng = np.random.default_rng(3)
    for n_events in (1, 2, 3, 3):
        facts = [event.fact for event in random_scene(rng, duration_s=8, n_events=n_events).events]
        caption = words.caption(facts, tag)
        found = claims(caption, tag)
        assert [words.parse_caption(claim.text) for claim in found] == [[fact] for fact in facts]
        assert [claim.follows for claim in found] == [number > 0 for number in range(n_events)]


def test_a_hostile_caption_is_taken_apart_in_linear_time() -> None:
    for unit in ("a.", ". ", "'\"", ", then ", "A. ", "<frame", "1. ", "。」", ", "):
        text = unit * 20_000
        assert sum(len(claim.text) for claim in claims(text)) <= len(text)
