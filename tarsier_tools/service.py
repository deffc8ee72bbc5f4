"""Describe a video, ask about it, find when something happens: one call each, from a path to a result.

Arguments are checked first, then the video is decoded, and only then a model is opened and asked: what
cannot be seen is never answered.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack, get_args, overload

from tarsier_tools import arguments, calibrating, captioning, prompts
from tarsier_tools.asking import choose, generate
from tarsier_tools.backends.base import Backend
from tarsier_tools.calibrating import CalibrateOptions, Example
from tarsier_tools.config import Settings
from tarsier_tools.errors import UsageError
from tarsier_tools.frames import MAX_PICTURE_SIDE, frames_wanted
from tarsier_tools.grounding import Seen, ground, reply_warnings
from tarsier_tools.locating.calibration import Calibration
from tarsier_tools.locating.methods import Method
from tarsier_tools.locating.run import locate
from tarsier_tools.locating.wanted import Options, want
from tarsier_tools.media.clips import ClipSpec, check_spec
from tarsier_tools.media.listing import list_videos
from tarsier_tools.media.subtitles import Subtitles
from tarsier_tools.prompts import Detail
from tarsier_tools.results import (
    Answer,
    Caption,
    Choice,
    FrameSet,
    FrameView,
    Localization,
    Timeline,
    VideoFolder,
    VideoInfo,
)
from tarsier_tools.timelines.describe import Wanted, describe
from tarsier_tools.timelines.segments import MAX_SEGMENT_S, Segmentation, lengths
from tarsier_tools.types import Progress, SamplingMethod, no_progress
from tarsier_tools.workbench import Workbench


class VideoService:
    """Answers questions about videos with one model.

    Safe to use from several threads. The model is opened when it is first needed; clips and what the model
    has seen of them are kept, so that a second question about the same stretch costs little.

    Args:
        settings: what to use and which limits hold; by default ``Settings.load()``, from the environment.
        backend: who answers, instead of what the settings say. The caller keeps it and closes it.

    Every method raises VideoError and its kinds when the video cannot be used as asked (before any model is
    called), BackendError and its kinds when the model cannot answer, UsageError for an argument that makes no
    sense, and lets Cancelled from ``on_progress`` through.

    The methods share these arguments:

    - ``video``: a path, a ``file://`` or http(s) URL, or a folder of images.
    - ``start_s``, ``end_s``: the range looked at, in seconds, the end excluded; by default all of it.
    - ``language``: of the prompt and so of the reply; any BCP 47 tag. Where there are no prompts in it (see
      ``prompts.LANGUAGES``) the model is asked in English for a reply in it, and a warning says so.
    - ``frames``: how many frames the model is shown.
    - ``sampling``: how they are chosen; ``"fps"`` takes ``fps`` of them a second, ``frames`` at most.
    - ``max_new_tokens``: where a reply is cut.
    - ``on_progress``: called as ``on_progress(done, total, message)`` between steps.
    """

    def __init__(self, settings: Settings | None = None, backend: Backend | None = None) -> None:
        self.settings = settings or Settings.load()
        self._bench = Workbench(self.settings, backend)

    @property
    def backend_choice(self) -> tuple[str, str]:
        """Which backend answers, and why: two texts for a front end to print. Opens nothing."""
        return self._bench.backend_choice

    def caption(
        self,
        video: str | Path,
        *,
        start_s: float | None = None,
        end_s: float | None = None,
        language: str | None = None,
        detail: Detail = "full",
        verify: bool = False,
        frames: int | None = None,
        sampling: SamplingMethod = "uniform",
        fps: float | None = None,
        max_new_tokens: int | None = None,
        on_progress: Progress = no_progress,
    ) -> Caption:
        """Describe a video, or a range of it.

        With ``detail="events"`` the model is asked for one line per event with its frames; the result's
        ``events`` hold those that it gave frames for, with times taken from the frames shown. The rest of its
        reply stays in ``text`` and is named in ``warnings``.

        With ``verify=True`` each statement of the text is looked for again, in the whole range and in short
        windows of it, and returned as supported, doubtful or unsupported. The text stays as it is. Raises
        BackendRejected for a model that gives no probabilities.
        """
        tag = arguments.language(language, self.settings.language)
        arguments.one_of("detail", detail, get_args(Detail))
        limit = arguments.new_tokens(max_new_tokens, self.settings.max_new_tokens)
        seen = self._look(video, start_s, end_s, frames, sampling, fps, on_progress)
        asked = self._bench.ask(seen, tag, on_progress)
        return captioning.describe(self._bench, asked, detail, verify, limit, on_progress)

    def ask(
        self,
        video: str | Path,
        question: str,
        *,
        choices: Sequence[str] | None = None,
        yes_no: bool | None = None,
        start_s: float | None = None,
        end_s: float | None = None,
        language: str | None = None,
        frames: int | None = None,
        sampling: SamplingMethod = "uniform",
        fps: float | None = None,
        max_new_tokens: int | None = None,
        on_progress: Progress = no_progress,
    ) -> Answer:
        """Answer a question about a video, or a range of it.

        Without more, the model writes a free answer. With ``choices`` (2 to 26 texts) or ``yes_no=True`` it
        writes nothing: it is shown the question and each reply is scored by its log-likelihood. The
        ``probability`` of a reply is its share among the replies offered (a softmax over them); it is the
        model's own, raw and not calibrated. ``yes_no`` is never guessed from the words of the question.
        Where a server gives no probabilities the model writes its choice, and the warnings say so.

        Raises UsageError for an empty question, one longer than ``arguments.MAX_TEXT_CHARS``, choices that
        are empty or given twice, and choices together with yes_no; ReplyError when the scores are no numbers.
        """
        tag = arguments.language(language, self.settings.language)
        text = arguments.words("question", question)
        if choices is not None and yes_no:
            raise UsageError("Both choices and yes_no are given.", hint="Leave one of them away.")
        options = None if choices is None else arguments.options(choices)
        limit = arguments.new_tokens(max_new_tokens, self.settings.max_new_tokens)
        seen = self._look(video, start_s, end_s, frames, sampling, fps, on_progress)
        asked = self._bench.ask(seen, tag, on_progress)
        if options is None and not yes_no:
            prompt = prompts.question(text, tag)
            completion = generate(asked, prompt, limit, on_progress)
            return Answer(
                question=text,
                text=completion.text.strip(),
                method="generated",
                finish_reason=completion.finish_reason,
                **ground(
                    asked, prompt, (completion.usage,), reply_warnings(completion), (completion.caution,)
                ),
            )
        if options is None:
            options = prompts.yes_no_words(tag)
            prompt = prompts.yes_no(text, tag)
            chosen = choose(asked, prompt, options, (), "", on_progress)
            letters: tuple[str, ...] = ("", "")
        else:
            letters = tuple(prompts.LETTERS[: len(options)])
            prompt = prompts.choices(text, options)
            chosen = choose(asked, prompt, options, letters, prompts.ANSWER_PREFIX, on_progress)
        scored = "yes_no" if yes_no else "choices"
        return Answer(
            question=text,
            text=options[chosen.best],
            method=scored if chosen.shares else "generated",
            choices=tuple(
                Choice(letter=letter, text=option, probability=share)
                for letter, option, share in zip(letters, options, chosen.shares, strict=False)
            ),
            score=chosen.shares[chosen.best] if chosen.shares else None,
            **ground(asked, prompt, (chosen.usage,), chosen.warnings, (chosen.caution,)),
        )

    @overload
    def locate(  # type: ignore[overload-overlap]  # a text is a sequence of texts too; it is one event
        self, video: str | Path, events: str, **options: Unpack[Options]
    ) -> Localization: ...

    @overload
    def locate(
        self, video: str | Path, events: Sequence[str], **options: Unpack[Options]
    ) -> tuple[Localization, ...]: ...

    def locate(
        self,
        video: str | Path,
        events: str | Sequence[str],
        *,
        start_s: float | None = None,
        end_s: float | None = None,
        top_k: int = 10,
        threshold: float | None = None,
        method: Method = "auto",
        window_s: float | None = None,
        stride_s: float | None = None,
        language: str | None = None,
        frames: int | None = None,
        sampling: SamplingMethod | None = None,
        fps: float | None = None,
        max_new_tokens: int | None = None,
        on_progress: Progress = no_progress,
    ) -> Localization | tuple[Localization, ...]:
        """Find when events happen in a video of any length, or in a range of it.

        A short range is looked at in one piece, a longer one in overlapping windows, in one pass; then each
        place found is looked at more closely. Several events share all of that, costs and timings too. Not
        finding an event is an answer: ``found`` is False, ``best_score`` says how close it came.

        Args:
            events: one event gives one result; several, up to ``arguments.MAX_EVENTS``, give a tuple.
            top_k: the most places for each event.
            threshold: what a place must reach: of the confidence where there is a calibration, else of the
                score; by default 0.5, or 5 nats for uncalibrated likelihoods.
            method: ``"yes_no"`` asks of each window whether it happens, ``"likelihood"`` compares the event
                as a caption of it and of a blank clip, ``"frames"`` asks, and lets the model write the
                frames; ``"auto"`` takes what goes with the model.
            window_s, stride_s: by default 0.75 s a frame (more in a very long video), and half of that.
            frames, sampling: of each window; by default Tarsier2's rule for one piece, else an even beat.

        Raises UsageError also for a method that this model has not and for a calibration of other weights.
        """
        wanted = want(
            self.settings, events, start_s=start_s, end_s=end_s, top_k=top_k, threshold=threshold,
            method=method, window_s=window_s, stride_s=stride_s, language=language, frames=frames,
            sampling=sampling, fps=fps, max_new_tokens=max_new_tokens,
        )  # fmt: skip
        found = locate(self._bench, video, wanted, on_progress)
        return found[0] if isinstance(events, str) else found

    def calibrate(self, examples: Sequence[Example], **options: Unpack[CalibrateOptions]) -> Calibration:
        """Fit what turns the scores of :meth:`locate` into confidences, see ``calibrating.calibrate``."""
        return calibrating.calibrate(self._bench, examples, **options)

    def timeline(
        self,
        video: str | Path,
        *,
        start_s: float | None = None,
        end_s: float | None = None,
        language: str | None = None,
        segmentation: Segmentation = "auto",
        min_segment_s: float | None = None,
        max_segment_s: float = MAX_SEGMENT_S,
        summarize: bool = False,
        resume: bool = True,
        frames: int | None = None,
        sampling: SamplingMethod = "time",
        fps: float | None = None,
        max_new_tokens: int | None = None,
        on_progress: Progress = no_progress,
    ) -> Timeline:
        """Describe a long video, or a range of it, segment by segment.

        What is done is kept under ``settings.cache_dir`` as it is done, so that the same call goes on where
        an earlier one was stopped or killed; ``resumed_segments`` says how many were there already.

        Args:
            segmentation: ``"shots"`` divides at cuts (needs the extra ``shots``), ``"windows"`` evenly,
                ``"auto"`` at cuts where they can be looked for.
            min_segment_s: shorter shots are joined to a neighbour; 1 s, and at most half of max_segment_s.
            max_segment_s: longer shots are divided evenly.
            summarize: also make chapters, with titles taken from the segments' captions.
            resume: use what earlier runs have kept; False begins anew.
            frames, sampling: of each segment. By the default sampling no frame of the next shot is shown.

        Raises UsageError also where PySceneDetect is asked for and missing, and where nothing can be kept.
        """
        arguments.one_of("segmentation", segmentation, get_args(Segmentation))
        arguments.one_of("sampling", sampling, get_args(SamplingMethod))
        shown = arguments.frames(frames, self.settings.frames)
        spec = ClipSpec(start_s, end_s, shown, sampling, fps, self.settings.max_pixels)
        check_spec(spec)
        tag = arguments.language(language, self.settings.language)
        limit = arguments.new_tokens(max_new_tokens, self.settings.max_new_tokens)
        lengths_s = lengths(min_segment_s, max_segment_s)
        wanted = Wanted(spec, tag, segmentation, lengths_s, limit, summarize, resume)
        return describe(self._bench, video, wanted, on_progress)

    def info(self, video: str | Path, *, on_progress: Progress = no_progress) -> VideoInfo:
        """What is known of a video without decoding it; no model is needed."""
        return self._bench.decoding.info(self._bench.resolve(video, on_progress))

    def identify(self, video: str | Path, *, on_progress: Progress = no_progress) -> str:
        """The hex SHA-256 of a video's bytes: the same for copies, whatever they are called."""
        return self._bench.content(self._bench.resolve(video, on_progress), on_progress)

    def subtitles(self, video: str | Path, *, on_progress: Progress = no_progress) -> tuple[Subtitles, ...]:
        """The subtitle tracks of a video, and the .srt and .vtt files beside it, that are text."""
        return self._bench.decoding.subtitles(self._bench.resolve(video, on_progress))

    def frames(
        self,
        video: str | Path,
        out_dir: str | Path,
        *,
        times_s: Sequence[float] | None = None,
        count: int | None = None,
        start_s: float | None = None,
        end_s: float | None = None,
        sheet: bool = False,
        max_side: int | None = None,
        overwrite: bool = False,
        on_progress: Progress = no_progress,
    ) -> FrameSet:
        """Write frames of a video to JPEG files named by their time; no model is needed.

        Args:
            out_dir: the folder for the files; made when it is not there.
            times_s: which frames: those on the screen at these times. Otherwise ``count`` frames of the range
                (by default ``settings.frames``), the same that a model would be shown.
            sheet: also write ``sheet.jpg``, a contact sheet with the times burned in.
            max_side: the longest side of a frame in pixels; larger ones are made smaller.
            overwrite: replace files that are there already.

        Damaged frames are left out, and the coverage says so. Raises UsageError when a file is there already
        or cannot be written, and TimeRangeError for a time that is not in the video.
        """
        wanted = frames_wanted(times_s, count, start_s, end_s, sheet, max_side, default=self.settings.frames)
        folder = Path(out_dir).expanduser().absolute()
        source = self._bench.resolve(video, on_progress)
        return self._bench.decoding.frames(source, wanted, folder, overwrite, on_progress)

    def view(
        self,
        video: str | Path,
        *,
        times_s: Sequence[float] | None = None,
        count: int | None = None,
        start_s: float | None = None,
        end_s: float | None = None,
        sheet: bool = False,
        max_side: int = 1568,
        max_bytes: int | None = None,
        on_progress: Progress = no_progress,
    ) -> FrameView:
        """Frames of a video as JPEG pictures in memory; no model is needed.

        Args:
            times_s, count: as in :meth:`frames`.
            sheet: one contact sheet with the times burned in, instead of a picture for each frame.
            max_side: the longest side of a picture in pixels, never above 2000; larger ones are made smaller.
            max_bytes: of all pictures together; to keep to it their quality is lowered, then their size.

        Damaged frames are left out, and the coverage says so. Raises TimeRangeError for a time that is not in
        the video, VideoTooLarge when max_bytes cannot be kept.
        """
        max_side = min(max_side, MAX_PICTURE_SIDE)
        wanted = frames_wanted(times_s, count, start_s, end_s, sheet, max_side, default=self.settings.frames)
        return self._bench.decoding.view(
            self._bench.resolve(video, on_progress), wanted, max_bytes, on_progress
        )

    def videos(self, folder: str | Path | None = None) -> VideoFolder:
        """The videos in a folder, by their names: no file is opened.

        Without a folder: of all ``settings.allowed_roots``, or of the current folder where there are none.
        Raises SourceNotAllowed for a folder outside of the allowed ones.
        """
        return list_videos(folder, self.settings)

    def close(self) -> None:
        """Give back the model that was opened, the worker and the memory; no call works after it."""
        self._bench.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _look(
        self,
        video: str | Path,
        start_s: float | None,
        end_s: float | None,
        frames: int | None,
        sampling: SamplingMethod,
        fps: float | None,
        on_progress: Progress,
    ) -> Seen:
        """Find and decode what a call is about, or take it from the cache."""
        began = time.perf_counter()
        arguments.one_of("sampling", sampling, get_args(SamplingMethod))
        wanted = arguments.frames(frames, self.settings.frames)
        spec = ClipSpec(start_s, end_s, wanted, sampling, fps, self.settings.max_pixels)
        check_spec(spec)  # before anything is downloaded
        source = self._bench.resolve(video, on_progress)
        return self._bench.look(source, spec, on_progress, began=began)
