"""Training data: batches of clips with many turns each, drawn fresh from a seed and never repeated.

A batch is a pure function of (seed, rank, step), so a resumed run sees what the first would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from export import MEAN, STD
from labels import IGNORE, SLOTS, cell_labels, event_labels
from model import PATCH, Layout
from tokenizer import SYSTEM
from tokenizers import Tokenizer
from torch import Tensor

from tarsier_tools import prompts
from tarsier_tools.selfcheck import language as words
from tarsier_tools.selfcheck.world import ACTIONS, COLORS, SHAPES, Scene, Truth, random_scene

BIN = 80
"""Tokens in a bin of turns; the longest turn is a multiple choice of whole events."""
TAIL = "<|im_end|>\n<|im_start|>assistant\n"
TASKS = ("caption", "dense", "locate", "open", "yes_no", "happens", "choice")
PICTURES: tuple[tuple[float, int, int], ...] = (
    (1.0, 84, 84),
    (4 / 3, 112, 84),
    (16 / 9, 112, 56),
    (3 / 4, 84, 112),
)
"""Proportion of a film, and width and height of the picture that the input recipe makes of it."""
PICTURE_SHARES = (0.82, 0.07, 0.07, 0.04)


_NOISE = np.random.default_rng(0).standard_normal(4_000_000, dtype=np.float32)  # drawing it anew costs more


Mark = tuple[int, int, int]
"""A place, whether what was said up to there is true of the clip (0, 1), and of which events (bits).

No bits mean that it is true of nothing; IGNORE that it is true of something that does not act.
"""


@dataclass
class Turn:
    """One question and its answer, as tokens."""

    task: str
    ids: list[int]
    answer: int
    """Where in ``ids`` the supervised reply begins."""
    marks: list[Mark] = field(default_factory=list)
    """Marks of the question, by place in ``ids``."""
    looks: list[tuple[int, int]] = field(default_factory=list)
    """(place in ``ids``, events as bits): what the reply tells of where it is about to be written."""
    span: tuple[int, int] | None = None
    """Frames asked for, counted from 0."""
    letters: list[tuple[int, int]] = field(default_factory=list)
    """(place in ``ids`` of the last word of an option, token of its letter)."""
    hop: int | None = None
    """Place in ``ids`` of the word that decides the reply: of the statement, or of the right option."""


@dataclass
class Batch:
    """Tensors of one step; B clips of T frames with C cells each."""

    frames: Tensor  # (B, T, height, width, 3) normalized
    ids: Tensor  # (B, prefix + text)
    positions: Tensor  # (3, B, prefix + text)
    layout: Layout
    cells: dict[str, Tensor]  # (B, T, C, 4[, 2]): color, shape, action, radius, alpha; place
    acting: Tensor  # (B, T, 4): colour, shape, action (0: nobody), ordinal of the event
    slots: Tensor  # (B, T + 1, SLOTS, 5): colour, shape, action (0: none), first and last frame
    targets: Tensor  # (B, text) next token or IGNORE
    turns: Tensor  # (B, text) number of the turn in the batch, at supervised places
    tasks: list[str]  # of every turn
    marks: Tensor  # (B, text) 0, 1 or IGNORE
    spans: Tensor  # (B, text, 2) frames counted from 0, or IGNORE
    looks: Tensor  # (B, text) events to look at, as bits; 0: at nothing; or IGNORE
    letters: Tensor  # (B, text) at the end of each option the token of its letter, else IGNORE
    hops: Tensor  # (B, text) the place in the text to look at before replying, or IGNORE
    during: Tensor  # (B, SLOTS, T) bool: the frames of each event


class Encoder:
    """Texts to turns, remembering what it has tokenized."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.known: dict[str, tuple[list[int], list[int]]] = {}
        self.tail = self.encode(TAIL)[0]
        self.head = self.encode(SYSTEM + "<|im_start|>user\n<|vision_start|>")[0]
        self.letters = [tokenizer.token_to_id(letter) for letter in "ABCD"]
        self.end = tokenizer.token_to_id("<|im_end|>")
        self.vision_end = tokenizer.token_to_id("<|vision_end|>")
        self.pad = tokenizer.token_to_id("<|image_pad|>")

    def encode(self, text: str) -> tuple[list[int], list[int]]:
        """Ids, and for each the place of the character after it."""
        if text not in self.known:
            if len(self.known) > 200_000:
                self.known.clear()
            encoding = self.tokenizer.encode(text)
            self.known[text] = encoding.ids, [end for _, end in encoding.offsets]
        return self.known[text]

    def turn(
        self,
        task: str,
        prompt: str,
        answer: str,
        begun: str = "",
        marks: Sequence[Mark] = (),
        looks: Sequence[tuple[int, int]] = (),
        span: tuple[int, int] | None = None,
        decisive: int | None = None,
        options: Sequence[int] = (),
    ) -> Turn:
        """A turn; ``begun`` starts the reply without being learned, places are given as characters."""
        ids, ends = self.encode(prompt)
        places = {end: place for place, end in enumerate(ends)}
        asked = [*ids, *self.tail, *self.encode(begun)[0]]
        marked = [(places[end], true, about) for end, true, about in marks if end in places]
        reply, ends = self.encode(answer)
        told = []
        for place, end in enumerate(ends):  # what a token tells of is to be seen one place earlier
            about = next((about for stop, about in looks if end <= stop), IGNORE)
            told.append((len(asked) + place - 1, about))
        hop = None if decisive is None else places.get(decisive)
        signs = [(places[end], self.letters[number]) for number, end in enumerate(options)]
        return Turn(task, [*asked, *reply, self.end], len(asked), marked, told, span, signs, hop)


def statement_marks(
    text: str, truth: Truth, said: dict[int, str] | None = None
) -> tuple[list[Mark], dict[int, str]]:
    """After each attribute that a text names: can what was said so far be true, and of which events?

    ``said`` is what was said before: place in a fact -> value; it is returned with the text's own added.
    """
    said = dict(said or {})
    marks: list[Mark] = []
    facts = [event.fact for event in truth.events]
    for value, end in words.mentions(text):
        said[0 if value in COLORS else 1 if value in SHAPES else 2] = value
        about = sum(1 << n for n, fact in enumerate(facts) if all(fact[p] == v for p, v in said.items()))
        there = 2 not in said and any(all(item[p] == v for p, v in said.items()) for item in truth.objects)
        marks.append((end, int(about > 0 or there), about if about or not there else IGNORE))
    return marks, said


def question_turn(encoder: Encoder, question: words.Question, truth: Truth, rng: np.random.Generator) -> Turn:
    """A question of the shapes world as the service puts it to the model."""
    text = question.text
    if question.kind == "choice":
        prompt = prompts.choices(text, question.options)
        at = len("Question: ")
        asked, said = statement_marks(text, truth)
        marks = [(end + at, true, about) for end, true, about in asked]
        at, decisive, ends = at + len(text), None, []
        for option in question.options:
            at += len("\n(A) ")
            told, _ = statement_marks(option, truth, said)
            marks += [(end + at, true, about) for end, true, about in told]
            at += len(option)
            ends.append(at)
            if option == question.answer:
                decisive = at
        letter = prompts.LETTERS[question.options.index(question.answer)]
        reply = f"{letter}) {question.answer}"
        return encoder.turn(
            "choice", prompt, reply, prompts.ANSWER_PREFIX, marks, decisive=decisive, options=ends
        )
    if question.kind == "open":
        marks, _ = statement_marks(text, truth)
        about = marks[-1][2] if marks else IGNORE
        if truth.events and question.topic in ("first", "last"):
            about = 1 << (0 if question.topic == "first" else len(truth.events) - 1)
        looks = [(len(question.answer), about)]
        return encoder.turn("open", text, question.answer, marks=marks, looks=looks)
    if question.kind == "happens":
        text = prompts.happens(loosely(text, question.language, rng), question.language)
    if question.kind == "happens" or rng.random() < 0.85:
        text = prompts.yes_no(text, question.language)
    marks, _ = statement_marks(text, truth)
    return encoder.turn(question.kind, text, question.answer, marks=marks, decisive=marks[-1][0])


def told_looks(text: str, events: int) -> list[tuple[int, int]]:
    """Which event each part of a caption tells of: (character after the part, event as a bit)."""
    ends = [end for value, end in words.mentions(text) if value in ACTIONS]
    return [(end, 1 << number) for number, end in enumerate(ends[:events])]


def loosely(phrase: str, language: words.Language, rng: np.random.Generator) -> str:
    """An event as somebody might type it: mostly as it is, at times as a sentence or with another article."""
    roll = rng.random()
    if language == "en" and roll < 0.1:
        return phrase.replace("the ", "a ", 1)
    if roll < 0.3:
        return phrase[0].upper() + phrase[1:] + (". " if language == "en" else "。").strip()
    return phrase


def turns_of(
    truth: Truth, times_s: Sequence[float], encoder: Encoder, rng: np.random.Generator, mix: dict[str, float]
) -> list[Turn]:
    """All turns that the clip could have, in a random order weighted by task."""
    facts = [event.fact for event in truth.events]
    turns: list[Turn] = []
    detail: prompts.Detail
    for language in (words.LANGUAGES[0], words.LANGUAGES[int(rng.integers(1, 3))]):
        for task, detail, text in (
            ("caption", "full", words.caption(facts, language)),
            ("dense", "events", words.dense_caption(truth.events, times_s, language)),
        ):
            looks = told_looks(text, len(facts))
            turns.append(encoder.turn(task, prompts.caption(language, detail), text, looks=looks))
        for event in truth.events:
            if facts.count(event.fact) == 1:
                span = words.frame_span(event, times_s)
                phrase = loosely(words.event_phrase(event.fact, language), language, rng)
                prompt, answer = prompts.locate(phrase, language), words.span_text(span)
                marks, _ = statement_marks(prompt, truth)
                looks = [(len(answer), 1 << facts.index(event.fact))]
                frames = (span[0] - 1, span[1] - 1)
                turns.append(encoder.turn("locate", prompt, answer, marks=marks, looks=looks, span=frames))
        asked = words.open_questions(truth, rng, language) + words.yes_no_questions(truth, rng, language)
        asked += words.choice_questions(truth, rng, language)
        turns += [question_turn(encoder, question, truth, rng) for question in asked]
    weight = np.array([mix[turn.task] for turn in turns])
    count = {task: sum(turn.task == task for turn in turns) for task in TASKS}
    weight = weight / [count[turn.task] for turn in turns]
    order = np.argsort(rng.exponential(size=len(turns)) / np.maximum(weight, 1e-9))
    return [turns[index] for index in order if weight[index] > 0]


def sample_clip(rng: np.random.Generator, frames: int, aspect: float) -> tuple[Scene, Truth, np.ndarray]:
    """A film, what its clip shows, and the times of the frames; a fair clip of at most SLOTS events."""
    while True:
        count = int(rng.choice(SLOTS + 1, p=[0.08, 0.24, 0.3, 0.38]))
        if frames == 16 and rng.random() < 0.7:
            scene = random_scene(rng, duration_s=8.0, n_events=count, aspect=aspect)
            start, end = 0.0, 8.0
        else:
            stretch = rng.uniform(1.0, 1.0 + count / 2)
            count += int(stretch > 1.6)
            scene = random_scene(
                rng, duration_s=8.0 * stretch, n_events=count, aspect=aspect, event_s=(1.3, 3.4)
            )
            length = 8.0 * frames / 16
            start = rng.uniform(0, 8.0 * stretch - length)
            end = start + length
        truth = scene.truth(start, end)
        if truth.clear and len(truth.events) <= SLOTS:
            last = end - rng.uniform(0.02, 0.1)  # the last frame begins before the clip ends
            return scene, truth, np.linspace(start, last, frames)


def paint(scene: Scene, times_s: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """The frames, (T, height, width, 3) float32 normalized, a little spoiled as by cameras and codecs."""
    pixels = scene.render(times_s, size).astype(np.float32)
    if rng.random() < 0.4:
        amount = np.float32(rng.uniform(0.1, 0.35))
        for axis in (1, 2):
            pixels = (1 - amount) * pixels + amount / 2 * (
                np.roll(pixels, 1, axis) + np.roll(pixels, -1, axis)
            )
    pixels = pixels * np.float32(rng.uniform(0.9, 1.1)) + np.float32(rng.uniform(-10, 10))
    if rng.random() < 0.5:
        at = rng.integers(len(_NOISE) - pixels.size)
        pixels += np.float32(rng.uniform(0.5, 5)) * _NOISE[at : at + pixels.size].reshape(pixels.shape)
    pixels = np.clip(pixels, 0, 255) / np.float32(255)
    return (pixels - np.float32(MEAN)) / np.float32(STD)


def prefix_positions(frames: int, rows: int, columns: int, head: int) -> Tensor:
    """Positions on (time, height, width) of the prefix, (3, prefix): head, cells, end of vision."""
    axes = (torch.arange(frames), torch.arange(rows), torch.arange(columns))
    cells = head + torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)
    return torch.cat((torch.arange(head).expand(3, -1), cells, (cells.max() + 1).expand(3, 1)), dim=1)


def make_batch(
    encoder: Encoder,
    rng: np.random.Generator,
    clips: int,
    bins: int,
    mix: dict[str, float],
    fixed: bool = False,
) -> Batch:
    """A batch drawn from ``rng``; ``fixed`` keeps to 16 square frames; no ``bins``: only the films."""
    aspect, width, height = PICTURES[0] if fixed else PICTURES[rng.choice(len(PICTURES), p=PICTURE_SHARES)]
    frames = 16 if fixed or rng.random() < 0.85 else int(rng.choice([5, 8, 10, 12]))
    grid = (height // (2 * PATCH), width // (2 * PATCH))
    n_cells = frames * grid[0] * grid[1]
    head = len(encoder.head)
    prefix = torch.tensor([*encoder.head, *[encoder.pad] * n_cells, encoder.vision_end])
    positions = prefix_positions(frames, *grid, head)
    text = bins * BIN
    ids = torch.zeros(clips, len(prefix) + text, dtype=torch.long)
    ids[:, : len(prefix)] = prefix
    place = torch.zeros(clips, text, dtype=torch.long)
    owner = torch.full((clips, text), -1, dtype=torch.long)
    batch = Batch(
        frames=torch.empty(clips, frames, height, width, 3),
        ids=ids,
        positions=torch.empty(0),
        layout=Layout(len(prefix), slice(head, head + n_cells)),
        cells={},
        acting=torch.empty(clips, frames, 4, dtype=torch.long),
        slots=torch.empty(clips, frames + 1, SLOTS, 5, dtype=torch.long),
        targets=torch.full((clips, text), IGNORE, dtype=torch.long),
        turns=torch.full((clips, text), -1, dtype=torch.long),
        tasks=[],
        marks=torch.full((clips, text), IGNORE, dtype=torch.long),
        spans=torch.full((clips, text, 2), IGNORE, dtype=torch.long),
        looks=torch.full((clips, text), IGNORE, dtype=torch.long),
        letters=torch.full((clips, text), IGNORE, dtype=torch.long),
        hops=torch.full((clips, text), IGNORE, dtype=torch.long),
        during=torch.zeros(clips, SLOTS, frames, dtype=torch.bool),
    )
    cells = []
    for clip in range(clips):
        scene, truth, times_s = sample_clip(rng, frames, aspect)
        batch.frames[clip] = torch.from_numpy(paint(scene, times_s, (width, height), rng))
        cells.append(cell_labels(scene, times_s, (width, height)))
        acting, slots = event_labels(scene, truth, times_s)
        batch.acting[clip], batch.slots[clip] = torch.from_numpy(acting), torch.from_numpy(slots)
        for number, event in enumerate(truth.events):
            first, last = words.frame_span(event, times_s.tolist())
            batch.during[clip, number, first - 1 : last] = True
        if bins:
            turns = turns_of(truth, times_s.tolist(), encoder, rng, mix)
            _pack(batch, clip, turns, bins, len(prefix), place, owner)
    batch.cells = {name: torch.from_numpy(np.stack([cell[name] for cell in cells])) for name in cells[0]}
    after = int(positions.max()) + 1 + place
    batch.positions = torch.cat((positions[:, None].expand(3, clips, -1), after.expand(3, -1, -1)), dim=2)
    if bins:
        own = owner.view(clips * bins, BIN)
        allowed = (own[:, :, None] == own[:, None, :]) & torch.ones(BIN, BIN, dtype=torch.bool).tril()
        mask = torch.zeros(allowed.shape).masked_fill_(~allowed, -1e9)[:, None]
        batch.layout = Layout(len(prefix), batch.layout.vision, bins, BIN, mask)
    return batch


def _pack(
    batch: Batch, clip: int, turns: list[Turn], bins: int, prefix: int, place: Tensor, owner: Tensor
) -> None:
    """Puts the turns of a clip into its bins, first fit, until nothing more goes in."""
    used = [0] * bins
    for turn in turns:
        length = len(turn.ids)
        number = next((number for number in range(bins) if used[number] + length <= BIN), None)
        if number is None:
            if min(used) > BIN - 14:
                break
            continue
        start = number * BIN + used[number]
        used[number] += length
        ids = torch.tensor(turn.ids)
        batch.ids[clip, prefix + start : prefix + start + length] = ids
        place[clip, start : start + length] = torch.arange(length)
        owner[clip, start : start + length] = len(batch.tasks)
        reply = slice(start + turn.answer - 1, start + length - 1)  # each place predicts the token after it
        batch.targets[clip, reply] = ids[turn.answer :]
        batch.turns[clip, reply] = len(batch.tasks)
        for at, about in turn.looks:
            batch.looks[clip, start + at] = about
        for at, true, about in turn.marks:
            batch.marks[clip, start + at] = true
            batch.looks[clip, start + at] = about
        for at, letter in turn.letters:
            batch.letters[clip, start + at] = letter
        if turn.hop is not None:
            batch.hops[clip, start + turn.answer - 1] = start + turn.hop
        if turn.span is not None:
            batch.spans[clip, start + turn.answer - 1] = torch.tensor(turn.span)
        batch.tasks.append(turn.task)
