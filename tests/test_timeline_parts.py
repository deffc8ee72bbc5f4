"""What a timeline is made with: dividing a range, keeping what is done, and chapters from captions."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest

from tarsier_tools.errors import Cancelled, UsageError, VideoUnreadable
from tarsier_tools.results import Segment, TimeRange
from tarsier_tools.timelines.chapters import MAX_CHAPTERS, MAX_TITLE_CHARS, chapters, terms, title
from tarsier_tools.timelines.journal import Journal, Stretch, content_hash
from tarsier_tools.timelines.segments import MAX_SEGMENTS, divide, lengths

# ---------------------------------------------------------------- dividing a range


@pytest.mark.parametrize(
    ("asked", "cuts", "expected"),
    [
        ((0, 10), (), [0, 10]),
        ((0, 10), (4.0,), [0, 4, 10]),
        ((0, 15), (), [0, 15]),
        ((0, 30), (), [0, 15, 30]),
        ((0, 31), (), [0, 31 / 3, 62 / 3, 31]),
        ((0, 40), (10.0,), [0, 10, 25, 40]),
        ((0, 10), (0.5, 4.0, 4.6, 9.5), [0, 4, 10]),  # tiny shots belong to what is before or after
        ((0, 10), (4.0, 5.0, 6.0), [0, 4, 5, 6, 10]),  # the shortest is long enough
        ((3, 7), (1.0, 3.0, 5.0, 7.0, 9.0), [3, 5, 7]),  # only cuts inside the range count
        ((0, 0.04), (0.02,), [0, 0.04]),
    ],
)
def test_a_range_is_divided_at_its_cuts(
    asked: tuple[float, float], cuts: tuple[float, ...], expected: list[float]
) -> None:
    made = divide(TimeRange(start_s=asked[0], end_s=asked[1]), cuts, 1.0, 15.0)
    assert [made[0].start_s, *(each.end_s for each in made)] == pytest.approx(expected)


def test_segments_always_follow_each_other_within_the_lengths_allowed() -> None:
    rng = random.Random(5)
    for _ in range(300):
        start_s = rng.choice([0.0, rng.uniform(0, 50)])
        asked = TimeRange(start_s=start_s, end_s=start_s + rng.uniform(0.05, 300))
        cuts = sorted(rng.uniform(0, 400) for _ in range(rng.randrange(60)))
        max_s = rng.uniform(0.5, 40)
        min_s = rng.uniform(0, max_s / 2)
        made = divide(asked, cuts, min_s, max_s)
        assert (made[0].start_s, made[-1].end_s) == (asked.start_s, asked.end_s)
        assert all(left.end_s == right.start_s for left, right in pairwise(made))
        assert max(each.duration_s for each in made) <= max_s * (1 + 1e-9)
        assert min(each.duration_s for each in made) >= min(min_s, asked.duration_s) * (1 - 1e-9)


def test_every_cut_counts_where_no_length_is_too_short() -> None:
    made = divide(TimeRange(start_s=0, end_s=2), [0.1, 0.2, 0.3], 0.0, 15.0)
    assert [each.start_s for each in made] == [0, 0.1, 0.2, 0.3]


def test_the_shortest_length_is_a_second_unless_the_longest_needs_less() -> None:
    assert lengths(None, 15) == (1, 15)
    assert lengths(None, 1.5) == (0.75, 1.5)
    assert lengths(0, 1.5) == (0, 1.5)


@pytest.mark.parametrize("given", [(-1, 15), (8, 15), (float("nan"), 15), (0, 0), (0, float("inf"))])
def test_lengths_that_make_no_sense_are_refused(given: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="segment_s is"):
        lengths(*given)


def test_more_segments_than_anyone_reads_are_refused() -> None:
    with pytest.raises(UsageError, match=f"at most {MAX_SEGMENTS}"):
        divide(TimeRange(start_s=0, end_s=36_000), (), 0.0, 0.5)


# ---------------------------------------------------------------- keeping what is done


class Said(Stretch):
    """A record with a text."""

    text: str


def journal(folder: Path, *, keep: bool = True, **parameters: object) -> Journal[Said]:
    return Journal(folder / "journals", {"content": "abc", **parameters}, Said, keep=keep)


def said(start_s: float, text: str = "a dog") -> Said:
    return Said(start_s=start_s, end_s=start_s + 1, text=text)


def test_what_was_added_is_there_when_the_journal_is_opened_again(tmp_path: Path) -> None:
    first = journal(tmp_path)
    for start_s in (0.0, 0.1 + 0.2, 1e9 / 3):
        first.add(said(start_s, "كلب\nيقفز \x1b[31m 犬 \U0001f415"))
    again = journal(tmp_path)
    assert len(again) == 3
    assert (
        again.get(0.1 + 0.2, 1.1 + 0.2)
        == first.get(0.1 + 0.2, 1.1 + 0.2)
        == said(0.1 + 0.2, "كلب\nيقفز \x1b[31m 犬 \U0001f415")
    )
    assert again.get(0.0, 2.0) is None


@pytest.mark.parametrize("left", range(1, 12))
def test_a_last_line_that_a_crash_cut_off_costs_only_itself(tmp_path: Path, left: int) -> None:
    kept = journal(tmp_path)
    for start_s in range(3):
        kept.add(said(start_s))
    whole = kept.path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    kept.path.write_bytes(whole[: last + (len(whole) - last) * left // 12])
    again = journal(tmp_path)
    assert len(again) == 2
    again.add(said(2, "again"))
    assert len(journal(tmp_path)) == 3
    assert journal(tmp_path).get(2, 3) == said(2, "again")


def test_lines_that_nobody_can_read_are_passed_over(tmp_path: Path) -> None:
    kept = journal(tmp_path)
    kept.add(said(0))
    with kept.path.open("ab") as file:
        file.write(b'\xff\xfe\n{"start_s": 1}\n[]\nnull\n{"start_s":1,"end_s":2,"text":"x","new":3}\n\n')
    kept.add(said(5))
    assert len(journal(tmp_path)) == 2


def test_a_text_that_is_no_unicode_harms_nothing(tmp_path: Path) -> None:
    kept = journal(tmp_path)
    kept.add(said(0, "half a pair: \ud83d"))
    kept.add(said(1))
    assert kept.get(0, 1) == said(0, "half a pair: \ud83d")
    assert journal(tmp_path).get(1, 2) == said(1)


def test_other_parameters_are_another_journal_and_beginning_anew_forgets(tmp_path: Path) -> None:
    journal(tmp_path, model="a").add(said(0))
    assert len(journal(tmp_path, model="b")) == 0
    assert len(journal(tmp_path, model="a")) == 1
    assert len(journal(tmp_path, model="a", keep=False)) == 0
    assert len(journal(tmp_path, model="a")) == 0


def test_two_writers_do_not_lose_each_others_lines(tmp_path: Path) -> None:
    one, other = journal(tmp_path), journal(tmp_path)
    for start_s in range(10):
        (one if start_s % 2 else other).add(said(start_s))
    assert len(journal(tmp_path)) == 10


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    kept = journal(tmp_path)
    kept.add(said(0))
    assert kept.path.stat().st_mode & 0o077 == 0
    assert kept.path.parent.stat().st_mode & 0o077 == 0


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "journals").write_text("a file, not a folder")
    with pytest.raises(UsageError, match="cannot be kept") as caught:
        journal(tmp_path)
    assert "TARSIER_CACHE_DIR" in caught.value.hint


def test_a_video_is_known_by_its_bytes_not_by_its_name(tmp_path: Path) -> None:
    def nothing() -> None: ...

    (tmp_path / "a.mp4").write_bytes(b"1" * 9_000_000)
    (tmp_path / "b.mp4").write_bytes(b"1" * 9_000_000)
    (tmp_path / "c.mp4").write_bytes(b"1" * 8_999_999 + b"2")
    a, b, c = (content_hash(tmp_path / f"{name}.mp4", nothing) for name in "abc")
    assert a == b != c
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "1.png").write_bytes(b"x")
    before = content_hash(folder, nothing)
    (folder / "1.png").rename(folder / "2.png")
    assert content_hash(folder, nothing) != before
    with pytest.raises(VideoUnreadable, match="gone"):
        content_hash(tmp_path / "gone.mp4", nothing)


def test_reading_a_large_file_can_be_stopped(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(bytes(9_000_000))

    def stop() -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        content_hash(tmp_path / "a.mp4", stop)


# ---------------------------------------------------------------- chapters

ENGLISH = (
    "The video shows a man in a red jacket skiing down a snowy slope. He turns left and sprays snow.",
    "A skier in a red jacket races down the slope, passing between trees covered with snow.",
    "The man in the red jacket stops at the bottom of the snowy slope and takes off his skis.",
    "In a kitchen, a woman in a white apron cuts tomatoes on a wooden board with a knife.",
    "The woman in the apron puts the cut tomatoes into a pan on the stove and stirs them.",
    "A pan on the stove with tomatoes simmering; the woman adds salt to the pan.",
    "Two children run along a sandy beach towards the sea, holding a kite.",
    "The children fly the kite on the beach while waves roll in from the sea.",
    "A child falls down on the sand and laughs, the kite lies on the beach.",
)
CHINESE = (
    "视频中一名穿红色夹克的男子从雪坡上滑下。他向左转弯，雪花飞溅。",
    "穿红色夹克的滑雪者沿着雪坡快速滑行，穿过树林。",
    "男子在雪坡底部停下，脱下滑雪板。",
    "厨房里，一名穿白色围裙的女子在木板上切西红柿。",
    "女子把切好的西红柿放进炉灶上的平底锅里翻炒。",
    "平底锅里的西红柿冒着热气，女子往锅里加盐。",
    "两个孩子拿着风筝沿着沙滩跑向大海。",
    "孩子们在沙滩上放风筝，海浪涌来。",
    "一个孩子摔倒在沙滩上大笑，风筝躺在沙滩上。",
)


def segments(captions: tuple[str, ...]) -> list[Segment]:
    return [
        Segment(start_s=number * 5.0, end_s=number * 5.0 + 5, text=text)
        for number, text in enumerate(captions)
    ]


@pytest.mark.parametrize("captions", [ENGLISH, CHINESE])
def test_a_chapter_begins_where_the_captions_turn_to_something_else(captions: tuple[str, ...]) -> None:
    made = chapters(segments(captions))
    assert [chapter.segments for chapter in made] == [(0, 1, 2), (3, 4, 5), (6, 7, 8)]
    assert [(chapter.start_s, chapter.end_s) for chapter in made] == [(0, 15), (15, 30), (30, 45)]


def test_a_title_is_words_of_a_caption_of_its_own_chapter() -> None:
    for chapter in chapters(segments(ENGLISH)):
        assert any(chapter.title.rstrip("…") in ENGLISH[number] for number in chapter.segments)


def test_captions_that_are_all_the_same_are_one_chapter() -> None:
    assert len(chapters(segments(("A man talks.",) * 40))) == 1


def test_every_segment_is_in_one_chapter_and_there_are_never_too_many() -> None:
    rng = random.Random(8)
    words = [
        "red",
        "blue",
        "dog",
        "cat",
        "runs",
        "jumps",
        "sea",
        "hill",
        "snow",
        "rain",
        "雨",
        "猫",
        "走",
        "看",
    ]
    for count in (1, 2, 3, 50, 400):
        captions = tuple(" ".join(rng.choices(words, k=rng.randrange(5))) for _ in range(count))
        made = chapters(segments(captions))
        assert [number for chapter in made for number in chapter.segments] == list(range(count))
        assert 1 <= len(made) <= MAX_CHAPTERS
        assert all(chapter.title for chapter in made)


def test_no_segments_have_no_chapters() -> None:
    assert chapters([]) == ()


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A dog runs. It barks.", "A dog runs"),
        ("A 3.5 m long snake moves", "A 3.5 m long snake moves"),
        ("The dog runs, then the cat jumps.", "The dog runs"),
        ("Mr. Smith waves. He leaves.", "Mr. Smith waves"),
        ("一只狗在跑。它在叫。", "一只狗在跑"),
        ("كلب يجري. ثم ينبح.", "كلب يجري"),
        ("  A dog\n runs ", "A dog runs"),
        ("", ""),
        ("...", ""),
    ],
)
def test_a_title_is_the_first_thing_that_is_told(caption: str, expected: str) -> None:
    assert title(caption) == expected


@pytest.mark.parametrize("caption", ["very " * 50 + "long", "很" * 200, "x" * 200])
def test_a_long_title_is_cut_and_says_so(caption: str) -> None:
    cut = title(caption)
    assert len(cut) <= MAX_TITLE_CHARS
    assert cut.endswith("…")
    assert caption.startswith(cut[:-1])


def test_captions_are_compared_by_words_or_by_pairs_of_characters() -> None:
    assert terms("The DOG's 2 legs") == ["the", "dog", "s", "2", "legs"]
    assert terms("红色的狗 runs") == ["红色", "色的", "的狗", "runs"]
