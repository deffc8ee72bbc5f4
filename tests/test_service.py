"""The service over a scripted model and real files: what it asks, what it makes of the replies."""

from __future__ import annotations

import itertools
import math
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from conftest import ShapesFilm

from tarsier_tools import prompts
from tarsier_tools.backends.scripted import ScriptedBackend
from tarsier_tools.config import Settings
from tarsier_tools.errors import (
    BackendFailed,
    BackendRejected,
    Cancelled,
    ReplyError,
    TarsierError,
    TimeRangeError,
    UsageError,
    VideoNotFound,
    VideoUnreadable,
)
from tarsier_tools.selfcheck.language import dense_caption
from tarsier_tools.selfcheck.world import Scene
from tarsier_tools.service import VideoService
from tarsier_tools.types import (
    Abilities,
    Completion,
    Progress,
    Request,
    SamplingMethod,
    ScoreRequest,
    Usage,
    no_progress,
)

VIDEOS = Path(__file__).parent / "golden" / "videos"
VIDEO = VIDEOS / "shapes_320x240_25fps.mp4"
CLEVER = Abilities(languages=prompts.LANGUAGES, yes_no=True, choices=True, frames=True, dense=True)
NO_CLOSER = "I cannot tell."
"""A reply to the closer look that leaves a place as it is."""
YES, NO = (math.log(0.9), math.log(0.1)), (math.log(0.2), math.log(0.8))


def scripted(
    *replies: str | TarsierError, scores: tuple = (), abilities: Abilities = CLEVER
) -> ScriptedBackend:
    return ScriptedBackend(replies, scores, abilities=abilities)


class TestCaption:
    def test_the_model_is_shown_the_frames_and_asked_in_the_trained_words(self) -> None:
        backend = scripted(" A red circle moves. ")
        caption = VideoService(backend=backend).caption(VIDEO)
        (request,) = backend.requests
        assert isinstance(request, Request)
        assert request.prompt == caption.prompt == "Describe the video in detail."
        assert len(request.clip) == 16
        assert request.max_new_tokens == 512
        assert caption.text == "A red circle moves."
        assert caption.finish_reason == "stop"
        assert caption.video == str(VIDEO)
        assert caption.model.name == "scripted"
        assert caption.coverage.frame_indices == request.clip.indices
        assert caption.coverage.frame_times_s == request.clip.times_s
        assert caption.warnings == ()

    def test_another_language_asks_in_that_language(self) -> None:
        backend = scripted("红色圆形移动。")
        caption = VideoService(backend=backend).caption(VIDEO, language="ZH-hans")
        assert caption.prompt == "请详细描述这段视频。"
        assert caption.language == "zh-Hans"

    def test_the_language_of_the_settings_is_the_default(self) -> None:
        caption = VideoService(Settings(language="zh-Hant"), scripted("紅色")).caption(VIDEO)
        assert caption.prompt == "請詳細描述這段影片。"

    def test_events_get_the_times_of_the_frames_that_the_model_named(self) -> None:
        backend = scripted("<frame: 1-4> A circle moves.\n<frame: 15-16> A star grows.")
        caption = VideoService(backend=backend).caption(VIDEO, detail="events")
        times = caption.coverage.frame_times_s
        first, second = caption.events
        assert (first.start_s, first.end_s, first.text) == (times[0], times[4], "A circle moves.")
        assert (second.start_s, second.text) == (times[14], "A star grows.")
        assert second.end_s == pytest.approx(caption.coverage.video_duration_s)
        assert caption.prompt == prompts.caption("en", "events")
        assert caption.warnings == ()

    def test_events_without_frames_stay_in_the_text_and_are_named(self) -> None:
        backend = scripted("At first:\n<frame: 1-4> A circle moves.")
        caption = VideoService(backend=backend).caption(VIDEO, detail="events")
        assert len(caption.events) == 1
        assert caption.text.startswith("At first:")
        assert caption.warnings == ("No frames are given for: 'At first:'.",)

    def test_a_model_that_cannot_give_frames_is_named_beside_its_text(self) -> None:
        backend = scripted("A man walks.", abilities=Abilities())
        caption = VideoService(backend=backend).caption(VIDEO, detail="events")
        assert caption.events == ()
        assert "not known to give the frames" in caption.warnings[-1]

    def test_a_single_image_is_called_an_image(self, tmp_path: Path) -> None:
        from PIL import Image

        Image.new("RGB", (64, 48), "red").save(tmp_path / "one.png")
        caption = VideoService(backend=scripted("Red.")).caption(tmp_path / "one.png")
        assert caption.prompt == "Describe the image in detail."
        assert len(caption.coverage.frame_indices) == 1
        assert caption.warnings == ()

    def test_a_reply_that_was_cut_says_so(self) -> None:
        class Cut(ScriptedBackend):
            def generate(self, requests, **_):  # type: ignore[no-untyped-def]
                usage = Usage(prompt_tokens=9, vision_tokens=4, cached_tokens=0, completion_tokens=7)
                return [Completion("A red", "length", (), (), usage) for _ in requests]

        caption = VideoService(backend=Cut()).caption(VIDEO, max_new_tokens=7)
        assert caption.finish_reason == "length"
        assert caption.warnings == ("The reply was cut after 7 tokens; max_new_tokens allows for more.",)

    def test_an_empty_reply_says_so(self) -> None:
        assert VideoService(backend=scripted(" ")).caption(VIDEO).warnings == ("The model wrote nothing.",)

    def test_a_language_that_the_model_does_not_know_is_told_of(self) -> None:
        backend = scripted("A circle.", abilities=Abilities(languages=("en",)))
        caption = VideoService(backend=backend).caption(VIDEO, language="zh-Hans")
        assert caption.warnings == ("This model answers in en; zh-Hans was asked for.",)

    def test_the_note_of_the_model_is_in_the_result(self) -> None:
        backend = scripted("A circle.", abilities=Abilities(note="Knows shapes only."))
        assert VideoService(backend=backend).caption(VIDEO).model.note == "Knows shapes only."


class TestAsk:
    def test_a_free_question_is_put_as_it_is(self) -> None:
        backend = scripted("Red.")
        answer = VideoService(backend=backend).ask(VIDEO, "  Which colour? ")
        assert backend.requests[0].prompt == answer.prompt == answer.question == "Which colour?"
        assert (answer.text, answer.method, answer.choices, answer.score) == ("Red.", "generated", (), None)

    def test_choices_are_scored_by_their_letters_and_nothing_is_written(self) -> None:
        backend = scripted(scores=[(math.log(0.1), math.log(0.3), math.log(0.1))])
        answer = VideoService(backend=backend).ask(VIDEO, "What?", choices=["red", " blue ", "green"])
        (request,) = backend.requests
        assert isinstance(request, ScoreRequest)
        assert request.prompt == "Question: What?\n(A) red\n(B) blue\n(C) green"
        assert request.reply_prefix == " Answer: ("
        assert request.candidates == ("A", "B", "C")
        assert not request.end_of_turn
        assert answer.method == "choices"
        assert answer.text == "blue"
        assert [choice.letter for choice in answer.choices] == ["A", "B", "C"]
        assert [choice.probability for choice in answer.choices] == pytest.approx([0.2, 0.6, 0.2])
        assert answer.score == pytest.approx(0.6)

    def test_twenty_six_choices_are_allowed(self) -> None:
        backend = scripted(scores=[[-float(n) for n in range(26)]])
        answer = VideoService(backend=backend).ask(VIDEO, "Which?", choices=[f"n{n}" for n in range(26)])
        assert answer.choices[-1].letter == "Z"
        assert answer.text == "n0"

    @pytest.mark.parametrize(("scores", "text", "score"), [(YES, "Yes", 0.9), (NO, "No", 0.8)])
    def test_a_yes_no_question_is_scored(self, scores: tuple[float, float], text: str, score: float) -> None:
        backend = scripted(scores=[scores])
        answer = VideoService(backend=backend).ask(VIDEO, "Is there a star?", yes_no=True)
        assert backend.requests[0].prompt == answer.prompt == "Is there a star? Answer yes or no."
        assert backend.requests[0].candidates == ("Yes", "No")
        assert (answer.method, answer.text) == ("yes_no", text)
        assert answer.score == pytest.approx(score)
        assert [choice.text for choice in answer.choices] == ["Yes", "No"]
        assert sum(choice.probability for choice in answer.choices) == pytest.approx(1)

    def test_yes_and_no_are_words_of_the_language(self) -> None:
        backend = scripted(scores=[NO])
        answer = VideoService(backend=backend).ask(VIDEO, "有星形吗？", yes_no=True, language="zh-Hans")
        assert backend.requests[0].candidates == ("是", "否")
        assert answer.text == "否"

    @pytest.mark.parametrize("yes_no", [None, False])
    def test_a_question_is_not_taken_for_yes_or_no_by_its_words(self, yes_no: bool | None) -> None:
        answer = VideoService(backend=scripted("Yes.")).ask(VIDEO, "Is it red?", yes_no=yes_no)
        assert answer.method == "generated"

    def test_scores_that_are_no_numbers_are_no_answer(self) -> None:
        backend = scripted(scores=[(math.nan, math.nan)])
        with pytest.raises(ReplyError, match="cannot be used"):
            VideoService(backend=backend).ask(VIDEO, "Is it red?", yes_no=True)

    @pytest.mark.parametrize(
        ("question", "arguments", "message"),
        [
            (" ", {}, "The question is empty"),
            ("Which \udcff?", {}, "The question is not valid Unicode"),
            ("x" * 2001, {}, "2001 characters; at most 2000"),
            ("Which?", {"choices": ["one"]}, "1 choices are given; between 2 and 26"),
            ("Which?", {"choices": []}, "0 choices are given"),
            ("Which?", {"choices": [str(n) for n in range(27)]}, "27 choices"),
            ("Which?", {"choices": ["red", " RED"]}, "'RED' is given twice"),
            ("Which?", {"choices": ["red", ""]}, "The choice is empty"),
            ("Which?", {"choices": "red"}, "The choices are one text"),
            ("Which?", {"choices": ["a", "b"], "yes_no": True}, "Both choices and yes_no"),
            (
                "Which?",
                {"language": "Klingon!"},
                r"language 'Klingon!' cannot be used: .* BCP 47 .* There are prompts in en, zh-Hans,",
            ),
            ("Which?", {"max_new_tokens": 0}, "max_new_tokens is 0; it must be from 1 to 8192"),
            ("Which?", {"max_new_tokens": 8193}, "max_new_tokens is 8193"),
            ("Which?", {"frames": 0}, "0"),
            ("Which?", {"sampling": "random"}, "random"),
            ("Which?", {"sampling": "fps"}, "fps"),
            ("Which?", {"fps": -1.0, "sampling": "fps"}, "-1"),
        ],
    )
    def test_what_makes_no_sense_is_refused_before_any_work(
        self, question: str, arguments: dict[str, object], message: str
    ) -> None:
        backend = scripted()
        with pytest.raises(UsageError, match=message) as caught:
            VideoService(backend=backend).ask("no such file", question, **arguments)  # type: ignore[arg-type]
        assert caught.value.hint
        assert backend.requests == []


class TestLocate:
    def test_frames_become_seconds(self) -> None:
        backend = scripted("<frame: 3-5>", NO_CLOSER, scores=[YES])
        found = VideoService(backend=backend).locate(VIDEO, "a circle moves")
        asked, written, closer = backend.requests
        times = written.clip.times_s
        (segment,) = found.segments
        assert (segment.start_s, segment.end_s, segment.text) == (times[2], times[5], "a circle moves")
        assert found.found
        assert found.best_score == segment.score == pytest.approx(0.9)
        assert found.method == "frames"
        assert found.reply == "<frame: 3-5>"
        assert "happen in the video" in asked.prompt
        assert asked.candidates == ("Yes", "No")
        assert written.prompt == found.prompt == 'In which frames does this happen: "a circle moves"?'
        assert found.warnings == ()
        assert set(found.coverage.frame_times_s) == {*times, *closer.clip.times_s}
        assert found.resolution_s < max(b - a for a, b in itertools.pairwise(times))

    def test_several_stretches_come_in_the_order_of_time(self) -> None:
        backend = scripted("<frame: 9-10> and <frame: 1-2>", NO_CLOSER, NO_CLOSER, scores=[YES])
        found = VideoService(backend=backend).locate(VIDEO, "a circle moves")
        times = backend.requests[0].clip.times_s
        assert [segment.start_s for segment in found.segments] == [times[0], times[8]]

    def test_frames_of_a_range_are_times_of_the_whole_video(self) -> None:
        backend = scripted("<frame: 1-99>", NO_CLOSER, NO_CLOSER, scores=[YES])
        found = VideoService(backend=backend).locate(VIDEO, "a circle moves", start_s=1.0, end_s=2.0)
        (segment,) = found.segments
        assert segment.start_s == pytest.approx(1.0, abs=0.05)
        assert segment.end_s == pytest.approx(2.0, abs=0.05)
        assert found.warnings == ("<frame: 1-99> was cut to the 16 frames shown.",)

    def test_the_last_frame_alone_lasts_for_a_while(self) -> None:
        backend = scripted("<frame: 16>", NO_CLOSER, scores=[YES])
        found = VideoService(backend=backend).locate(VIDEO, "a circle moves", start_s=1.0, end_s=2.0)
        (segment,) = found.segments
        assert segment.end_s > segment.start_s

    def test_no_stretch_begins_before_the_range(self) -> None:
        backend = scripted("<frame: 1-2>", NO_CLOSER, scores=[YES])
        found = VideoService(backend=backend).locate(VIDEO, "it", start_s=1.03, sampling="time")
        assert found.coverage.frame_times_s[0] == pytest.approx(1.0)  # on the screen since before
        assert found.segments[0].start_s == 1.03

    def test_what_the_model_doubts_is_not_found(self) -> None:
        backend = scripted("<frame: 3-5>", scores=[NO])
        found = VideoService(backend=backend).locate(VIDEO, "a circle moves")
        assert not found.found
        assert found.segments == ()
        assert found.best_score == pytest.approx(0.2)
        assert found.reply == "<frame: 3-5>"
        assert "yes has a probability of only 0.20" in found.warnings[0]

    def test_a_model_not_trained_for_yes_and_no_has_no_veto(self) -> None:
        backend = scripted("<frame: 3-5>", NO_CLOSER, scores=[NO], abilities=Abilities(frames=True))
        assert VideoService(backend=backend).locate(VIDEO, "a circle moves").found

    def test_a_model_that_writes_no_frames_finds_nothing(self) -> None:
        backend = scripted("A circle moves to the left.", scores=[YES], abilities=Abilities())
        found = VideoService(backend=backend).locate(VIDEO, "a circle moves", method="frames")
        assert not found.found
        assert found.segments == ()
        assert found.reply == "A circle moves to the left."
        assert "wrote no frame numbers" in found.warnings[0]

    def test_a_clear_no_is_no_reason_to_warn(self) -> None:
        backend = scripted("It does not happen.", scores=[NO])
        found = VideoService(backend=backend).locate(VIDEO, "a circle moves")
        assert not found.found
        assert found.warnings == ()

    def test_yes_without_frames_is_told_of(self) -> None:
        found = VideoService(backend=scripted("Yes.", scores=[YES])).locate(VIDEO, "a circle moves")
        assert not found.found
        assert "though yes has a probability of 0.90" in found.warnings[0]

    def test_the_cost_is_that_of_all_requests(self) -> None:
        backend = scripted("<frame: 3-5>", NO_CLOSER, scores=[YES])
        found = VideoService(backend=backend).locate(VIDEO, "it")
        assert found.usage.vision_tokens == sum(len(request.clip) for request in backend.requests)
        assert len(backend.requests) == 3

    def test_an_empty_event_is_refused(self) -> None:
        with pytest.raises(UsageError, match="The event is empty"):
            VideoService(backend=scripted()).locate(VIDEO, "\n")


class Oracle(ScriptedBackend):
    """A model that always tells the truth about the film, in the frames that it is shown."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(abilities=CLEVER)
        self.scene = scene

    def generate(
        self, requests: Sequence[Request], *, on_progress: Progress = no_progress
    ) -> list[Completion]:
        usage = Usage(prompt_tokens=1, vision_tokens=1, cached_tokens=0, completion_tokens=1)
        texts = (dense_caption(self.scene.events, request.clip.times_s) for request in requests)
        return [Completion(text, "stop", (), (), usage) for text in texts]


class TestTheTruth:
    @pytest.mark.parametrize(
        ("frames", "sampling", "fps"), [(16, "uniform", None), (20, "time", None), (64, "fps", 4.0)]
    )
    def test_true_frames_become_true_times(
        self, shapes_film: ShapesFilm, frames: int, sampling: SamplingMethod, fps: float | None
    ) -> None:
        with VideoService(backend=Oracle(shapes_film.scene)) as videos:
            caption = videos.caption(
                shapes_film.path, detail="events", frames=frames, sampling=sampling, fps=fps
            )
        gap = caption.coverage.largest_gap_s + 1 / 12
        assert len(caption.events) == len(shapes_film.scene.events) == 3
        assert gap < 0.7
        for told, true in zip(caption.events, shapes_film.scene.events, strict=True):
            assert true.start_s - 1 / 12 <= told.start_s <= true.start_s + gap
            assert true.end_s - 1 / 12 <= told.end_s <= true.end_s + gap
            assert true.shape in told.text


class TestNothingIsAnsweredUnseen:
    @pytest.mark.parametrize("content", [b"", b"this is no video", b"\x00" * 4096])
    def test_a_file_that_is_no_video_never_reaches_the_model(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "bad.mp4").write_bytes(content)
        backend = scripted("An answer.")
        with pytest.raises(VideoUnreadable) as caught:
            VideoService(backend=backend).caption(tmp_path / "bad.mp4")
        assert backend.requests == []
        assert caught.value.hint

    def test_a_missing_file_never_reaches_the_model(self, tmp_path: Path) -> None:
        backend = scripted("An answer.")
        with pytest.raises(VideoNotFound):
            VideoService(backend=backend).ask(tmp_path / "none.mp4", "What?")
        assert backend.requests == []

    @pytest.mark.parametrize(
        ("start_s", "end_s"),
        [(99.0, None), (2.0, 1.0), (1.0, 1.0), (-1.0, 1.0), (math.nan, 1.0), (0.0, math.nan)],
    )
    def test_a_range_that_is_not_in_the_video_never_reaches_the_model(
        self, start_s: float, end_s: float | None
    ) -> None:
        backend = scripted("An answer.")
        with pytest.raises(TimeRangeError):
            VideoService(backend=backend).caption(VIDEO, start_s=start_s, end_s=end_s)
        assert backend.requests == []

    def test_a_bad_file_is_named_before_a_model_is_opened(self, tmp_path: Path) -> None:
        settings = Settings(model=str(tmp_path / "no such model"))
        with pytest.raises(VideoNotFound), VideoService(settings) as videos:
            videos.caption(tmp_path / "none.mp4")

    @pytest.mark.parametrize("error", [BackendRejected("Too long."), BackendFailed("It broke.")])
    def test_what_goes_wrong_in_the_model_is_not_hidden(self, error: TarsierError) -> None:
        with pytest.raises(type(error)) as caught:
            VideoService(backend=scripted(error)).caption(VIDEO)
        assert caught.value is error


class TestCoverage:
    def test_an_end_after_the_video_is_cut_and_told_of(self) -> None:
        caption = VideoService(backend=scripted("A circle.")).caption(VIDEO, end_s=1000)
        assert caption.coverage.asked.end_s == pytest.approx(caption.coverage.video_duration_s)
        assert caption.warnings

    def test_a_range_with_fewer_frames_than_wanted_is_told_of(self) -> None:
        backend = scripted("A circle.")
        caption = VideoService(backend=backend).caption(VIDEO, start_s=1.0, end_s=1.2)
        shown = len(backend.requests[0].clip)
        assert shown < 16
        assert caption.warnings == (f"The model was shown {shown} frames; 16 were asked for.",)

    @pytest.mark.parametrize(
        ("frames", "fps", "sampling"), [(4, None, "uniform"), (5, None, "time"), (30, 2.0, "fps")]
    )
    def test_frames_and_sampling_are_as_asked(self, frames: int, fps: float | None, sampling: str) -> None:
        backend = scripted("A circle.")
        caption = VideoService(backend=backend).caption(VIDEO, frames=frames, sampling=sampling, fps=fps)
        times = caption.coverage.frame_times_s
        assert caption.coverage.sampling == sampling
        assert len(times) == len(backend.requests[0].clip)
        if fps:
            assert [b - a for a, b in itertools.pairwise(times)] == pytest.approx(
                [0.5] * (len(times) - 1), abs=0.04
            )
        else:
            assert len(times) == frames
        assert caption.warnings == ()


class TestCaches:
    def test_a_second_question_on_the_same_clip_decodes_nothing(self, tmp_path: Path) -> None:
        video = tmp_path / "clip.mp4"
        shutil.copy(VIDEO, video)
        backend = scripted("One.", "Two.")
        with VideoService(backend=backend) as videos:
            first, second = videos.ask(video, "What?"), videos.ask(video, "Why?")
        assert (first.timings.clip_cached, second.timings.clip_cached) == (False, True)
        assert backend.requests[0].clip is backend.requests[1].clip
        assert first.coverage == second.coverage

    def test_another_range_is_another_clip(self) -> None:
        with VideoService(backend=scripted("One.", "Two.")) as videos:
            videos.caption(VIDEO)
            assert not videos.caption(VIDEO, end_s=1.0).timings.clip_cached

    def test_a_file_that_changed_is_read_again(self, tmp_path: Path) -> None:
        video = tmp_path / "clip.mp4"
        shutil.copy(VIDEO, video)
        backend = scripted("One.", "Two.")
        with VideoService(backend=backend) as videos:
            videos.caption(video)
            shutil.copy(VIDEOS / "short10_256x192.mp4", video)
            os.utime(video, (1, 1))
            changed = videos.caption(video)
        assert not changed.timings.clip_cached
        assert len(backend.requests[1].clip) == 10

    def test_without_memory_nothing_is_kept(self) -> None:
        with VideoService(Settings(clip_cache_mb=0), scripted("One.", "Two.")) as videos:
            videos.caption(VIDEO)
            assert not videos.caption(VIDEO).timings.clip_cached

    @pytest.mark.parametrize("cached_tokens", [0, 5])
    def test_what_the_model_had_seen_before_is_told_of(self, cached_tokens: int) -> None:
        class Cached(ScriptedBackend):
            def generate(self, requests, **_):  # type: ignore[no-untyped-def]
                usage = Usage(
                    prompt_tokens=9, vision_tokens=4, cached_tokens=cached_tokens, completion_tokens=1
                )
                return [Completion("Red", "stop", (), (), usage) for _ in requests]

        caption = VideoService(backend=Cached()).caption(VIDEO)
        assert caption.timings.prefix_cached is (cached_tokens > 0)
        assert caption.usage.cached_tokens == cached_tokens

    def test_questions_from_many_threads_are_answered_and_decoded_once(self) -> None:
        backend = scripted(*["Red."] * 8)
        with VideoService(backend=backend) as videos:
            answers = []
            threads = [
                threading.Thread(target=lambda: answers.append(videos.ask(VIDEO, "What?"))) for _ in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
        assert [answer.text for answer in answers] == ["Red."] * 8
        assert sum(not answer.timings.clip_cached for answer in answers) == 1
        assert len({id(request.clip) for request in backend.requests}) == 1


class TestProgress:
    def test_each_phase_is_told_of(self) -> None:
        told: list[tuple[int, int, str]] = []
        VideoService(backend=scripted("Red.")).caption(VIDEO, on_progress=lambda *step: told.append(step))
        messages = [message for _, _, message in told]
        assert messages
        assert messages[-1] == "generating"
        assert all(0 <= done <= total for done, total, _ in told)

    def test_cancelling_stops_before_the_model_is_asked(self) -> None:
        def stop(done: int, total: int, message: str) -> None:
            raise Cancelled("Enough.")

        backend = scripted("Red.")
        with pytest.raises(Cancelled):
            VideoService(backend=backend).caption(VIDEO, on_progress=stop)
        assert backend.requests == []

    def test_a_cancelled_clip_can_be_asked_about_again(self) -> None:
        def stop(done: int, total: int, message: str) -> None:
            raise Cancelled("Enough.")

        with VideoService(backend=scripted("Red.")) as videos:
            with pytest.raises(Cancelled):
                videos.caption(VIDEO, on_progress=stop)
            assert videos.caption(VIDEO).text == "Red."


class TestLife:
    def test_a_backend_that_was_given_stays_open(self) -> None:
        class Counting(ScriptedBackend):
            closed = 0

            def close(self) -> None:
                self.closed += 1

        backend = Counting(["Red."])
        with VideoService(backend=backend) as videos:
            videos.caption(VIDEO)
        assert backend.closed == 0

    def test_a_closed_service_answers_nothing_more(self) -> None:
        videos = VideoService(backend=scripted("Red."))
        videos.close()
        videos.close()
        with pytest.raises(UsageError, match="closed"):
            videos.caption(VIDEO)

    def test_the_choice_of_a_backend_is_given_with_its_reason(self) -> None:
        assert VideoService(backend=scripted()).backend_choice == ("scripted", "given by the caller")
        name, reason = VideoService().backend_choice
        assert name == "tiny"
        assert reason

    def test_settings_come_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TARSIER_FRAMES", "3")
        backend = scripted("Red.")
        VideoService(backend=backend).caption(VIDEO)
        assert len(backend.requests[0].clip) == 3


class TestInfo:
    def test_a_video_is_described_without_decoding(self) -> None:
        info = VideoService(backend=scripted()).info(VIDEO)
        assert (info.width, info.height, info.codec) == (320, 240, "h264")
        assert info.average_fps == pytest.approx(25)
        assert info.source == str(VIDEO)

    def test_a_file_that_is_no_video_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "bad.mp4").write_text("no video")
        with pytest.raises(VideoUnreadable):
            VideoService(backend=scripted()).info(tmp_path / "bad.mp4")


@pytest.fixture(scope="module")
def isolated() -> Iterator[VideoService]:
    with VideoService(Settings(isolate=True), scripted("Red.", "Blue.")) as videos:
        yield videos


class TestIsolation:
    def test_a_worker_decodes_the_same_frames(self, isolated: VideoService) -> None:
        backend = scripted("Red.")
        VideoService(backend=backend).caption(VIDEO)
        isolated.caption(VIDEO)
        assert isolated._bench._given.requests[-1].clip.fingerprint == backend.requests[0].clip.fingerprint  # type: ignore[union-attr]

    def test_errors_of_the_worker_are_the_same_errors(self, isolated: VideoService, tmp_path: Path) -> None:
        (tmp_path / "bad.mp4").write_text("no video")
        with pytest.raises(VideoUnreadable):
            isolated.caption(tmp_path / "bad.mp4")
        assert isolated.info(VIDEO).width == 320

    def test_closing_the_service_ends_its_worker(self) -> None:
        videos = VideoService(Settings(isolate=True), scripted())
        videos.info(VIDEO)
        worker = videos._bench.decoding._worker
        assert worker
        videos.close()
        with pytest.raises(UsageError, match="worker is closed"):
            worker.call(len, "", timeout_s=1)


def test_the_bytes_of_a_video_are_read_once_as_long_as_it_stays_as_it_is(tmp_path: Path) -> None:
    path = Path(shutil.copy(VIDEO, tmp_path / "film.mp4"))
    heard: list[str] = []
    with VideoService() as videos:

        def content() -> str:
            return videos.identify(path, on_progress=lambda done, total, message: heard.append(message))

        first = content()
        assert heard == ["reading the file"]
        assert content() == first
        assert heard == ["reading the file"]
        path.write_bytes(path.read_bytes() + b"more")
        assert content() != first
        assert heard == ["reading the file", "reading the file"]
