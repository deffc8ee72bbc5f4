"""``tarsier-tools doctor`` on the bundled model, and on servers that are wrong on purpose."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from openai_server import MAX_PIXELS, NAME, Behaviour, Frames, OpenAIServer, serving
from typer.testing import CliRunner

from tarsier_tools import Settings, UsageError, VideoService
from tarsier_tools.backends.base import Backend
from tarsier_tools.backends.remote import RemoteBackend
from tarsier_tools.cli import app
from tarsier_tools.cli.doctor import render
from tarsier_tools.doctor import (
    Accuracy,
    Diagnosis,
    Finding,
    agreement,
    examine,
    host,
    quality,
    seeing,
)
from tarsier_tools.doctor import (
    serving as served,
)
from tarsier_tools.doctor.films import REVERSED, film, numbered, read_number
from tarsier_tools.doctor.findings import worst
from tarsier_tools.media.transform import resize
from tarsier_tools.selfcheck.world import ACTIONS
from tarsier_tools.types import no_progress

REPORT = Path(__file__).parents[1] / "training" / "REPORT.md"


def settings(server: OpenAIServer, **changes: Any) -> Settings:
    """Of a client of the double, which serves the bundled model and its small pictures."""
    return Settings(
        base_url=server.url,
        server_max_pixels=MAX_PIXELS,
        picture_format="png",
        retries=0,
        **changes,
    )


@pytest.fixture
def asking() -> Iterator[Callable[[Behaviour], Backend]]:
    """Opens a backend of a server that behaves so; both are closed afterwards."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def ask(behaviour: Behaviour) -> Backend:
            server = stack.enter_context(serving(behaviour))
            return stack.enter_context(RemoteBackend(settings(server)))

        yield ask


def words(**changes: Any) -> Behaviour:
    """A server that gives probabilities of single words only, which makes the checks quick."""
    return Behaviour(prompt_logprobs=False, **changes)


def of(diagnosis: Diagnosis) -> dict[str, Finding]:
    return {finding.name: finding for finding in diagnosis.findings}


@pytest.fixture(scope="module")
def diagnosis() -> Diagnosis:
    """Of the bundled model, where only some folder may be read."""
    return examine(Settings(backend="tiny", allowed_roots=(Path("no-such-folder"),)))


class TestOnTheBundledModel:
    def test_everything_is_right(self, diagnosis) -> None:
        assert {
            finding.name: finding.detail for finding in diagnosis.findings if finding.status != "ok"
        } == {}
        assert diagnosis.exit_code == 0

    def test_every_check_is_made_in_order(self, diagnosis) -> None:
        host_checks = ["versions", "device", "decoder"]
        seen = ["frames arrive", "probabilities", "every frame counts", "sees what is there"]
        used = ["frames in order", "times", "greedy", "reuse", "context", "speed"]
        assert list(of(diagnosis)) == [*host_checks, "backend", *seen, *used]

    def test_what_is_measured_comes_as_numbers_too(self, diagnosis) -> None:
        found = of(diagnosis)
        assert found["reuse"].figures["cached_tokens"] > 100
        assert found["speed"].figures["vision_tokens"] == 16 * 8
        assert found["speed"].figures["vision_tokens_per_s"] > 0
        assert found["frames in order"].figures["share"] == 1
        assert found["greedy"].figures["first_token_logprob_drift"] < 0.001
        assert found["device"].figures["free_bytes"] > 1e8


@pytest.mark.allow_hosts(["127.0.0.1"])
class TestServers:
    def test_a_server_that_is_right_agrees_with_the_same_model_here(self) -> None:
        with serving(words(context=16384)) as server:
            found = examine(settings(server), compare_with="tiny")
        problems = {f.name for f in found.findings if f.status != "ok"}
        assert problems == {"probabilities"}  # which this one gives for single words only
        assert of(found)["agreement"].figures == {"same": 1.0, "logprob_gap": pytest.approx(0, abs=1e-3)}
        assert "device" not in of(found)  # the model is not on this machine
        assert found.exit_code == 1

    def test_frames_in_reverse_are_noticed(self, asking) -> None:
        found = seeing.check_order(asking(words(see=lambda frames: frames[::-1])))
        assert found.status == "fail"
        assert "in reverse" in found.detail
        assert found.hint

    def test_the_truth_is_preferred_by_written_answers_where_nothing_else_is_to_be_had(self, asking) -> None:
        silent = Behaviour(logprobs=False, top_logprobs=False, prompt_logprobs=False)
        backend = asking(silent)
        assert backend.info.scoring == "none"
        assert seeing.check_order(backend).status == "ok"
        assert seeing.check_every_frame(backend).status == "warn"  # cannot be told
        found = served.check_probabilities(backend)
        assert found.status == "warn"
        assert "none are given" in found.detail
        assert "vLLM" in found.hint

    @pytest.mark.parametrize(
        "see",
        [lambda frames: frames[:-1], lambda frames: frames[:1], lambda frames: frames[1:]],
        ids=["last", "all but the first", "first"],
    )
    def test_dropped_frames_fail_with_what_to_do_and_end_the_checks(self, see) -> None:
        def drop(frames: Frames) -> Frames:
            return (
                frames if len(frames) == 17 else see(frames)
            )  # the probe, which would notice first, is spared

        with serving(words(see=drop)) as server:
            found = examine(settings(server))
        assert found.exit_code == 2
        assert found.findings[-1].name == "frames arrive"
        assert found.findings[-1].status == "fail"
        assert "--media-io-kwargs" in found.findings[-1].hint

    def test_frames_replaced_by_others_are_noticed_though_their_number_is_right(self, asking) -> None:
        backend = asking(
            words(see=lambda frames: frames[:3] * (len(frames) // 3) + frames[: len(frames) % 3])
        )
        assert seeing.check_arrival(backend, 15).status == "ok"  # by the count nothing is wrong
        found = seeing.check_every_frame(backend)
        assert found.status == "fail"
        assert "4, 7, 10, 13, 16" in found.detail

    def test_a_server_that_samples_by_itself_fails(self) -> None:
        with serving(words(see=lambda frames: frames[::4])) as server:  # two of eight frames a second
            found = examine(settings(server))
        assert [finding.name for finding in found.findings] == ["versions", "decoder", "backend"]
        assert "samples" in found.findings[-1].detail
        assert "--media-io-kwargs" in found.findings[-1].hint

    def test_a_limit_on_frames_is_a_warning_where_clips_are_shorter(self, asking) -> None:
        found = seeing.check_arrival(asking(words(list_limit=32)), 16)
        assert found.status == "warn"
        assert "silently drops" in found.detail
        assert "--media-io-kwargs" in found.hint

    def test_frames_sent_as_single_pictures_are_a_warning(self, asking) -> None:
        found = seeing.check_arrival(asking(words(video=False)), 16)
        assert found.status == "warn"
        assert "each as a picture of its own" in found.detail

    def test_a_model_that_is_not_served_fails_with_the_names_that_are(self) -> None:
        with serving(Behaviour(names=("llama",))) as server:
            found = examine(settings(server, model=NAME))
        assert found.exit_code == 2
        assert "llama" in found.findings[-1].detail
        assert "TARSIER_MODEL" in found.findings[-1].hint

    def test_another_model_under_the_same_name_is_noticed(self, asking, monkeypatch) -> None:
        with serving(words()) as server, RemoteBackend(settings(server)) as backend:
            real = server.brain.next_logprobs
            # Weights that are not those of the name: what it says of a film is what another film shows.
            other = film(0).clip.frames
            monkeypatch.setattr(server.brain, "next_logprobs", lambda frames, ids: real(shrunk(other), ids))
            content = seeing.check_content(backend)
            with VideoService(Settings(backend="tiny")) as service:
                apart = agreement.check_agreement(backend, service._bench.backend(no_progress))
        assert content.status == "fail"
        assert "quantisation" in content.hint
        assert apart.status == "fail"
        assert apart.figures["same"] == 0

    def test_a_slow_server_is_a_warning(self, asking) -> None:
        backend = asking(words(per_token_s=0.25))
        found = served.check_speed(backend, Settings(server_max_pixels=MAX_PIXELS))
        assert found.status == "warn"
        assert found.figures["output_tokens_per_s"] < 5
        assert "GPU" in found.hint

    def test_a_server_that_keeps_nothing_is_a_warning(self, asking, monkeypatch) -> None:
        monkeypatch.setattr(OpenAIServer, "was_seen", lambda self, frames: False)
        backend = asking(words(reuse=False, per_token_s=1.0))  # far more than the rest of either question
        assert served.check_reuse(backend).status == "warn"

    def test_replies_that_change_from_one_request_to_the_next_are_noticed(self, asking, monkeypatch) -> None:
        with serving(words()) as server, RemoteBackend(settings(server)) as backend:
            real, noise = server.brain.next_logprobs, np.random.default_rng(0)

            def sampled(frames: Frames, ids: list[int]) -> Any:
                logprobs = real(frames, ids)
                shaken = logprobs + 8 * torch.tensor(
                    noise.standard_normal(len(logprobs)), dtype=torch.float32
                )
                return shaken.log_softmax(-1)

            monkeypatch.setattr(server.brain, "next_logprobs", sampled)
            assert served.check_determinism(backend).status == "fail"

    def test_a_context_too_short_for_the_largest_clip_is_a_warning(self, asking) -> None:
        backend = asking(words(context=4096))
        assert served.check_length(backend, Settings(server_max_pixels=MAX_PIXELS)).status == "ok"
        found = served.check_length(backend, Settings())
        assert found.status == "warn"
        assert found.figures["needed_tokens"] > 4096
        assert "--max-model-len" in found.hint

    def test_a_server_that_has_gone_fails_once(self) -> None:
        with serving(words()) as server:
            gone = settings(server)
        found = examine(gone)
        assert [finding.name for finding in found.findings] == ["versions", "decoder", "backend"]
        assert found.exit_code == 2


def shrunk(frames: Frames) -> Frames:
    return tuple(resize(frame, (84, 84)) for frame in frames)


class TestQuality:
    def test_the_bundled_model_is_as_good_as_its_training_report_says(self) -> None:
        text = REPORT.read_text("utf-8")
        with VideoService(Settings(backend="tiny")) as service:
            measured = quality.measure(service, 5, on_progress=no_progress)
        assert {each.task for each in measured} == {f"en {task}" for task in quality.TASKS}
        for each in measured:
            row = re.search(rf"^\| {re.escape(each.task)} \| ([0-9.]+) \|", text, re.MULTILINE)
            assert row
            assert each.low <= float(row[1]) <= each.high, each

    def test_the_card_of_the_bundled_model_says_what_its_report_says(self) -> None:
        from tarsier_tools.backends import TINY_FOLDER

        text, stated = REPORT.read_text("utf-8"), quality.stated_by(TINY_FOLDER)
        assert set(stated) == {f"{tag} {t}" for tag in ("en", "zh-Hans", "zh-Hant") for t in quality.TASKS}
        for task, value in stated.items():
            row = re.search(rf"^\| {re.escape(task)} \| ([0-9.]+) \|", text, re.MULTILINE)
            assert row
            assert value == float(row[1]), task

    def test_accuracy_below_what_is_stated_fails_only_beyond_chance(self) -> None:
        def measured(value: float, clips: int) -> Accuracy:
            low, high = quality.wilson(value, clips)
            return Accuracy(task="en open", value=value, low=low, high=high, clips=clips, stated=0.98)

        assert quality.judged([measured(0.9, 10)]).status == "ok"
        assert quality.judged([measured(0.9, 200)]).status == "fail"
        assert "0.90 of 0.98" in quality.judged([measured(0.9, 200)]).detail

    @pytest.mark.parametrize(
        ("share", "count", "low", "high"),
        [
            (0.5, 10, 0.2366, 0.7634),
            (1.0, 20, 0.8389, 1.0),
            (0.0, 20, 0.0, 0.1611),
            (0.9, 100, 0.8256, 0.9448),
        ],
    )
    def test_wilsons_interval_is_that_of_the_tables(self, share, count, low, high) -> None:
        assert quality.wilson(share, count) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))

    @pytest.mark.parametrize(
        "content", ["", "[]", '{"accuracy": 1}', '{"accuracy": {"en open": "good"}}', "{"]
    )
    def test_a_card_without_figures_states_nothing(self, content, tmp_path) -> None:
        (tmp_path / "tarsier.json").write_text(content)
        assert quality.stated_by(tmp_path) == {}
        assert quality.stated_by(tmp_path / "missing") == {}


class TestFilms:
    def test_every_action_is_shown_as_often_as_every_other(self) -> None:
        assert [film(number).fact[2] for number in range(16)] == list(ACTIONS) * 2

    def test_backwards_is_what_the_reversed_film_shows(self) -> None:
        assert {REVERSED[REVERSED[action]] for action in ACTIONS} == set(ACTIONS)
        states = film(0).scene.states(film(0).clip.times_s)  # a shape moves left
        x = states[:, :, 0]
        actor = int(np.ptp(x, axis=0).argmax())
        assert film(0).fact[2] == "move_left"
        assert x[0, actor] > x[-1, actor]
        assert film(0).backwards[2] == "move_right"

    def test_what_is_elsewhere_shares_neither_colour_nor_shape_with_the_film(self) -> None:
        for number in range(16):
            color, shape, action = film(number).elsewhere
            objects = film(number).scene.truth().objects
            assert not {color, shape} & {part for each in objects for part in each}
            assert action == film(number).fact[2]

    @pytest.mark.parametrize("size", [(160, 40), (120, 30), (90, 60)])
    def test_a_frame_tells_its_number_at_any_size_and_not_when_damaged(self, size) -> None:
        pictures = numbered(200)
        assert [read_number(resize(picture, size)) for picture in pictures[::37]] == list(range(0, 200, 37))
        assert read_number(np.roll(pictures[5], 20, axis=0)) != 5
        assert read_number(np.zeros_like(pictures[5])) is None


class TestHost:
    def test_a_decoder_that_gives_other_frames_fails(self, monkeypatch) -> None:
        monkeypatch.setattr(host, "numbered", lambda count: numbered(count)[::-1])
        found = host.check_decoder(Settings())
        assert found.status == "fail"
        assert found.hint

    def test_little_memory_is_a_warning(self, monkeypatch) -> None:
        monkeypatch.setattr(host, "LOW_MEMORY", 1 << 60)
        assert host.check_device(Settings(device="cpu")).status == "warn"

    def test_a_device_that_is_not_there_fails_with_a_hint(self) -> None:
        found = of(examine(Settings(backend="tiny", device="cuda:7")))
        assert found["device"].status == "fail"
        assert "cpu" in found["device"].hint
        assert found["backend"].status == "fail"


class TestCommand:
    def run(self, *arguments: str):
        return CliRunner().invoke(app, ["doctor", *arguments])

    def diagnosis(self, *statuses: str) -> Diagnosis:
        findings = tuple(
            Finding(name=f"check {n}", status=status, detail=f"Saw {n}.", hint="Do this." * (status != "ok"))
            for n, status in enumerate(statuses)
        )
        return Diagnosis(status=worst(findings), backend="tiny", reason="it is", findings=findings)

    @pytest.mark.parametrize(
        ("statuses", "code"), [(("ok",), 0), (("ok", "warn"), 1), (("warn", "fail", "ok"), 2)]
    )
    def test_the_exit_code_is_that_of_the_worst_finding(self, statuses, code, monkeypatch) -> None:
        monkeypatch.setattr("tarsier_tools.doctor.examine", lambda *_, **__: self.diagnosis(*statuses))
        result = self.run()
        assert result.exit_code == code
        assert result.stdout.count("-> Do this.") == len([s for s in statuses if s != "ok"])
        assert json.loads(self.run("--json").stdout)["status"] == statuses[1 if len(statuses) > 1 else 0]

    def test_a_bad_setting_is_a_usage_error(self) -> None:
        result = self.run("--backend", "local")
        assert result.exit_code == 2
        assert "needs a model" in result.stderr
        with pytest.raises(UsageError):
            examine(Settings(), clips=-1)

    def test_text_of_a_server_cannot_draw_on_the_terminal(self) -> None:
        finding = Finding(name="backend", status="fail", detail="\x1b[2Jgone", hint="\x1b]0;title\x07do")
        lines = render(Diagnosis(status="fail", backend="remote", reason="\x1b[1m", findings=(finding,)))
        assert "\x1b" not in "".join(line.plain for line in lines)

    def test_accuracy_is_shown_with_its_interval_and_what_is_stated(self, monkeypatch) -> None:
        each = Accuracy(task="en open", value=0.95, low=0.9, high=0.98, clips=30, stated=0.96)
        given = self.diagnosis("ok").model_copy(update={"accuracy": (each,)})
        asked: list[int] = []

        def examined(*_: Any, clips: int, **__: Any) -> Diagnosis:
            asked.append(clips)
            return given

        monkeypatch.setattr("tarsier_tools.doctor.examine", examined)
        assert "0.950   0.900 to 0.980   0.960" in self.run("--quality", "--clips", "7").stdout
        self.run()
        assert asked == [7, 0]
