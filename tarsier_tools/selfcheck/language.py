"""What is said about the shapes world, in three scripts: sentences, captions, questions, and the way back.

Pure functions of a :class:`~tarsier_tools.selfcheck.world.Truth`. One canonical form per answer, so that
a reply can be compared as text; :func:`parse_caption` reads captions back into facts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from .vocabulary import ASK, LANGUAGES, WORDS, Language
from .world import ACTIONS, COLORS, SHAPES, Action, Color, Event, Fact, Object, Shape, Truth

__all__ = [
    "LANGUAGES",
    "Language",
    "Question",
    "caption",
    "choice_questions",
    "claims",
    "dense_caption",
    "event_phrase",
    "event_sentence",
    "frame_span",
    "hard_negative",
    "mentions",
    "object_name",
    "open_questions",
    "parse_caption",
    "parse_spans",
    "span_text",
    "yes_no_questions",
]

Kind = Literal["open", "yes_no", "happens", "choice"]
T = TypeVar("T")


@dataclass(frozen=True)
class Question:
    """A question about a clip and the one right reply.

    ``kind`` says how it is put: "open" and "yes_no" as they are, "happens" as an event that is to be
    wrapped in "does this happen", "choice" with ``options``, of which ``answer`` is one.
    """

    kind: Kind
    topic: str
    """What is asked for, e.g. "action" or "color"; scores are broken down by it."""
    text: str
    answer: str
    language: Language
    options: tuple[str, ...] = ()


def object_name(item: Object, language: Language = "en") -> str:
    """A shape of the world as a noun: "red circle"."""
    words = WORDS[language]
    return words.object.format(color=_color(item[0], language), shape=_shape(item[1], language))


def event_phrase(fact: Fact, language: Language = "en") -> str:
    """An event as a query, without a stop: "the red circle moves left"."""
    color, shape, action = fact
    if language == "en":
        return f"the {object_name((color, shape))} {_action(action, language)}"
    return f"{object_name((color, shape), language)}{_action(action, language)}"


def event_sentence(fact: Fact, language: Language = "en") -> str:
    """An event as a sentence: "The red circle moves left."."""
    return _sentence(event_phrase(fact, language), language)


def caption(facts: Sequence[Fact], language: Language = "en") -> str:
    """The canonical description of a clip: its events in order, in one sentence."""
    words = WORDS[language]
    if not facts:
        return words.nothing
    return _sentence(words.then.join(event_phrase(fact, language) for fact in facts), language)


def frame_span(event: Event, times_s: Sequence[float]) -> tuple[int, int]:
    """First and last of the frames shown during an event, counted from 1, both included.

    When no frame falls into the event, the nearest one to its middle stands for it.
    """
    inside = [number for number, time in enumerate(times_s, 1) if event.start_s <= time < event.end_s]
    if inside:
        return inside[0], inside[-1]
    middle = (event.start_s + event.end_s) / 2
    nearest = min(range(len(times_s)), key=lambda index: abs(times_s[index] - middle)) + 1
    return nearest, nearest


def span_text(span: tuple[int, int]) -> str:
    """A span of frames as the model writes it."""
    return f"<frame: {span[0]}-{span[1]}>"


def dense_caption(events: Sequence[Event], times_s: Sequence[float], language: Language = "en") -> str:
    """One line per event, its frames first: "<frame: 3-6> The red circle moves left."."""
    if not events:
        return WORDS[language].nothing
    lines = (f"{span_text(frame_span(e, times_s))} {event_sentence(e.fact, language)}" for e in events)
    return "\n".join(lines)


def parse_caption(text: str) -> list[Fact]:
    """The events that a caption tells of, in order, whatever its language; unknown words are skipped."""
    found = (
        [match[name].lower() for name in ("color", "shape", "action")] for match in _EVENT.finditer(text)
    )
    return [(_COLOR_OF[color], _SHAPE_OF[shape], _ACTION_OF[action]) for color, shape, action in found]


def parse_spans(text: str) -> list[tuple[int, int]]:
    """Every "<frame: i-j>" of a reply, in order."""
    return [(int(first), int(last)) for first, last in re.findall(r"<frame:\s*(\d+)\s*-\s*(\d+)>", text)]


def open_questions(truth: Truth, rng: np.random.Generator, language: Language = "en") -> list[Question]:
    """Questions with a short free reply; each has exactly one right one."""
    words, ask = WORDS[language], _Asker(rng, language, "open")
    facts = [event.fact for event in truth.events]
    questions = [ask("count", words.numbers[len(facts)])] if len(facts) < len(words.numbers) else []
    questions += [ask("first", caption(facts[:1], language)), ask("last", caption(facts[-1:], language))]
    for color, shape, action in facts:
        item = (color, shape)
        if sum(fact[:2] == item for fact in facts) == 1:
            does = (
                f"It {_action(action, language)}." if language == "en" else f"{_action(action, language)}。"
            )
            questions.append(ask("action", does, object=object_name(item, language)))
        if sum(fact[2] == action for fact in facts) == 1:
            said = {"action": _action(action, language), "shape": _shape(shape, language)}
            thing = object_name(item, language)
            questions.append(
                ask("object", _sentence(f"the {thing}" if language == "en" else thing, language), **said)
            )
            questions.append(ask("color", _sentence(_color(color, language), language), **said))
    for item in truth.idle:
        still = f"It {words.still}." if language == "en" else f"{words.still}。"
        questions.append(ask("action", still, object=object_name(item, language)))
    return questions


def yes_no_questions(truth: Truth, rng: np.random.Generator, language: Language = "en") -> list[Question]:
    """Questions answered by yes or no, about equally often, hard to tell apart by the words alone."""
    words, ask = WORDS[language], _Asker(rng, language, "yes_no")
    facts, objects = [event.fact for event in truth.events], truth.objects
    reply = {True: words.yes, False: words.no}
    present = {color for color, _ in objects}, {shape for _, shape in objects}, {fact[2] for fact in facts}
    questions = []
    for topic, table, there in (
        ("is_color", COLORS, present[0]), ("is_shape", SHAPES, present[1]), ("does_any", ACTIONS, present[2])
    ):  # fmt: skip
        wanted = bool(rng.integers(2)) if there and len(there) < len(table) else bool(there)
        value = _pick(rng, [item for item in table if (item in there) == wanted])
        questions.append(ask(topic, reply[wanted], **_said(value, language)))
    if objects:
        color, shape = _pick(rng, objects)
        wanted = bool(rng.integers(2))
        if not wanted:
            color, shape = _pick(rng, _swapped_objects((color, shape), objects))
        questions.append(ask("is_object", reply[wanted], object=object_name((color, shape), language)))
    for fact, wanted in claims(truth, rng):
        item = object_name(fact[:2], language)
        questions.append(
            ask("does", reply[wanted], object=item, act=WORDS[language].acts[ACTIONS.index(fact[2])])
        )
    for fact, wanted in claims(truth, rng):
        questions.append(
            Question("happens", "happens", event_phrase(fact, language), reply[wanted], language)
        )
    return questions


def claims(truth: Truth, rng: np.random.Generator) -> list[tuple[Fact, bool]]:
    """True and false events: per event one that happens or one that differs from it in a single attribute.

    Half of the false ones borrow the attribute from something else in the clip.
    """
    facts = [event.fact for event in truth.events]
    if not facts:
        fact = (*_pick(rng, truth.idle or [(c, s) for c in COLORS for s in SHAPES]), _pick(rng, ACTIONS))
        return [(fact, False)]
    said = []
    for fact in facts:
        wanted = bool(rng.integers(2))
        said.append((fact if wanted else hard_negative(fact, truth, rng), wanted))
    return said


def hard_negative(fact: Fact, truth: Truth, rng: np.random.Generator) -> Fact:
    """An event that does not happen in the clip, one attribute away from one that does."""
    facts = {event.fact for event in truth.events}
    color, shape, action = fact
    swaps: list[list[Fact]] = [
        [(other, shape, action) for other in COLORS],
        [(color, other, action) for other in SHAPES],
        [(color, shape, other) for other in ACTIONS],
    ]
    swaps = [[swap for swap in group if swap not in facts] for group in swaps]
    borrowed = [
        swap
        for swap in [(*item, action) for item in truth.objects]
        + [(color, shape, other[2]) for other in facts]
        if swap not in facts
    ]
    if borrowed and rng.random() < 0.5:
        return _pick(rng, borrowed)
    return _pick(rng, swaps[rng.integers(3)])


def choice_questions(
    truth: Truth, rng: np.random.Generator, language: Language = "en", n_options: int = 4
) -> list[Question]:
    """Questions with options, exactly one of them right, the right one at every place equally often."""
    ask = _Asker(rng, language, "choice")
    facts = [event.fact for event in truth.events]
    questions = []
    for color, shape, action in facts:
        item = (color, shape)
        if sum(fact[:2] == item for fact in facts) == 1:
            wrong = [_action(other, language) for other in ACTIONS if other != action]
            right = _action(action, language)
            questions.append(
                ask.choose("action", right, wrong, n_options, object=object_name(item, language))
            )
        if sum(fact[2] == action for fact in facts) == 1:
            near = [other for other in truth.objects if other != item]
            far = _swapped_objects(item, truth.objects)
            others = [object_name(other, language) for other in _first_some(rng, near, far, n_options)]
            the = "the " if language == "en" else ""
            said = {"action": _action(action, language), "shape": _shape(shape, language)}
            right, wrong = the + object_name(item, language), [the + other for other in others]
            questions.append(ask.choose("object", right, wrong, n_options, **said))
            wrong = [_color(other, language) for other in COLORS if other != color]
            questions.append(ask.choose("color", _color(color, language), wrong, n_options, **said))
    if facts:
        fact = _pick(rng, facts)
        wrong = []
        while len(wrong) < n_options - 1:
            other = event_phrase(hard_negative(fact, truth, rng), language)
            if other not in wrong:
                wrong.append(other)
        questions.append(ask.choose("happens", event_phrase(fact, language), wrong, n_options))
    return questions


class _Asker:
    """Builds questions of one kind and language, the wording drawn at random."""

    def __init__(self, rng: np.random.Generator, language: Language, kind: Kind) -> None:
        self.rng, self.language, self.kind = rng, language, kind

    def __call__(self, topic: str, answer: str, **said: str) -> Question:
        text = _pick(self.rng, ASK[self.language][topic]).format(**said)
        return Question(self.kind, topic, text, answer, self.language)

    def choose(self, topic: str, right: str, wrong: Sequence[str], n_options: int, **said: str) -> Question:
        picked = self.rng.permutation(len(wrong))[: n_options - 1]
        options = [wrong[index] for index in picked.tolist()]
        options.insert(int(self.rng.integers(len(options) + 1)), right)
        text = _pick(self.rng, ASK[self.language][topic]).format(**said)
        return Question(self.kind, topic, text, right, self.language, tuple(options))


def _pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    return items[int(rng.integers(len(items)))]


def _color(color: Color, language: Language) -> str:
    return WORDS[language].colors[COLORS.index(color)]


def _shape(shape: Shape, language: Language) -> str:
    return WORDS[language].shapes[SHAPES.index(shape)]


def _action(action: Action, language: Language) -> str:
    return WORDS[language].actions[ACTIONS.index(action)]


def _said(value: Color | Shape | Action, language: Language) -> dict[str, str]:
    """The word for an attribute, under the name that the question templates give it."""
    if value in COLORS:
        return {"color": _color(value, language)}
    if value in SHAPES:
        return {"shape": _shape(value, language)}
    return {"act": WORDS[language].acts[ACTIONS.index(value)]}


def _sentence(phrase: str, language: Language) -> str:
    return phrase[0].upper() + phrase[1:] + WORDS[language].stop


def _swapped_objects(item: Object, present: Sequence[Object]) -> list[Object]:
    """Shapes that are not in the clip and share their colour or their shape with ``item``."""
    color, shape = item
    swaps = [(other, shape) for other in COLORS] + [(color, other) for other in SHAPES]
    return [swap for swap in swaps if swap not in present]


def _first_some(
    rng: np.random.Generator, near: Sequence[Object], far: Sequence[Object], count: int
) -> list[Object]:
    """``count`` different objects, those of ``near`` first, the rest drawn from ``far``."""
    fill = [far[index] for index in rng.permutation(len(far)).tolist()]
    return [*near, *fill][:count]


def _table(pick: str) -> dict[str, int]:
    """Word, lower case -> its place in the world's tuple, over all languages."""
    return {
        word.lower(): place for words in WORDS.values() for place, word in enumerate(getattr(words, pick))
    }


def _any_of(words: Sequence[str], name: str) -> str:
    return f"(?P<{name}>{'|'.join(sorted(words, key=len, reverse=True))})"


_COLOR_OF: dict[str, Color] = {word: COLORS[place] for word, place in _table("colors").items()}
_SHAPE_OF: dict[str, Shape] = {word: SHAPES[place] for word, place in _table("shapes").items()}
_ACTION_OF: dict[str, Action] = {word: ACTIONS[place] for word, place in _table("actions").items()}
_EVENT = re.compile(
    rf"{_any_of([*_COLOR_OF], 'color')}\s*{_any_of([*_SHAPE_OF], 'shape')}\s*"
    rf"{_any_of([*_ACTION_OF], 'action')}",
    re.IGNORECASE,
)
_MENTION = re.compile(
    "|".join(
        re.escape(word) if not word.isascii() else rf"\b{word}\b"
        for word in sorted({*_COLOR_OF, *_SHAPE_OF, *_ACTION_OF, *_table("acts")}, key=len, reverse=True)
    ),
    re.IGNORECASE,
)
_ATTRIBUTE_OF: dict[str, Color | Shape | Action] = {
    **_COLOR_OF,
    **_SHAPE_OF,
    **{word: ACTIONS[place] for word, place in _table("acts").items()},
    **_ACTION_OF,
}


def mentions(text: str) -> list[tuple[Color | Shape | Action, int]]:
    """The attributes that a text names, in order, each with the place of the character after its word."""
    return [(_ATTRIBUTE_OF[match[0].lower()], match.end()) for match in _MENTION.finditer(text)]
