"""The decoding worker keeps its limits, survives its child, and lets our errors through."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tarsier_tools.errors import UsageError, VideoTooLarge, VideoUnreadable
from tarsier_tools.media.reader import open_video
from tarsier_tools.media.worker import DecodeWorker
from tests.corpus import Track, read_number, steady, write

posix = pytest.mark.skipif(sys.platform == "win32", reason="the limits of memory and signals are POSIX's")


def process_id() -> int:
    return os.getpid()


def die(code: int) -> None:
    os.write(2, b"first words\nlast words\n")
    os._exit(code)


def abort() -> None:
    os.abort()


def sleep() -> None:
    time.sleep(60)


def spin_in_the_last_second() -> None:
    """Uses its processor time up, of which nearly all is taken away first."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    assert soft != resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1, hard))
    while True:
        pass


def allocate(size: int) -> int:
    return len(bytearray(size))


def refuse() -> None:
    raise VideoUnreadable("This is no video.", hint="Give another.")


def stumble() -> None:
    raise KeyError("a mistake of ours")


class Unpicklable(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)
        self.lock = threading.Lock()


def stumble_badly() -> None:
    raise Unpicklable("cannot", "cross")


def chatter() -> str:
    print("to nobody")  # noqa: T201
    return sys.stdin.read()


def loaded_modules() -> set[str]:
    return set(sys.modules)


def first_frame(path: Path) -> np.ndarray:
    with open_video(path) as reader:
        return next(reader.read([3])).image


def test_results_come_back_and_the_process_is_kept() -> None:
    with DecodeWorker() as worker:
        child = worker.call(process_id)
        assert child != os.getpid()
        assert worker.call(process_id) == child


def test_frames_decoded_in_the_worker_are_the_same(tmp_path: Path) -> None:
    write(tmp_path / "video.mp4", Track(range(9), steady(9)))
    with DecodeWorker() as worker:
        image = worker.call(first_frame, tmp_path / "video.mp4")
    np.testing.assert_array_equal(image, first_frame(tmp_path / "video.mp4"))
    assert read_number(image) == 3


def test_the_child_does_not_import_a_model() -> None:
    with DecodeWorker() as worker:
        assert not {"torch", "transformers", "httpx"} & worker.call(loaded_modules)


def test_our_errors_cross_over_as_themselves() -> None:
    with DecodeWorker() as worker, pytest.raises(VideoUnreadable) as caught:
        worker.call(refuse)
    assert (caught.value.message, caught.value.hint) == ("This is no video.", "Give another.")


def test_a_mistake_in_the_function_is_not_called_a_bad_video() -> None:
    with DecodeWorker() as worker:
        with pytest.raises(KeyError, match="a mistake of ours"):
            worker.call(stumble)
        with pytest.raises(RuntimeError, match="Unpicklable: cannot"):
            worker.call(stumble_badly)


def test_a_call_that_takes_too_long_is_killed_and_the_next_one_works() -> None:
    with DecodeWorker() as worker:
        child = worker.call(process_id)
        with pytest.raises(VideoTooLarge, match=r"longer than the limit of 0\.1 s"):
            worker.call(sleep, timeout_s=0.1)
        assert worker.call(process_id) != child
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


@posix
def test_memory_over_the_limit_is_refused_with_the_limit() -> None:
    with DecodeWorker(memory_mb=1000) as worker:
        assert worker.call(allocate, 100 << 20) == 100 << 20
        with pytest.raises(VideoTooLarge, match="limit of 1000 MiB"):
            worker.call(allocate, 1100 << 20)
        assert worker.call(allocate, 10) == 10


@posix
def test_processor_time_over_the_limit_ends_the_call() -> None:
    with DecodeWorker() as worker, pytest.raises(VideoTooLarge, match="processor time"):
        worker.call(spin_in_the_last_second)


def test_a_child_that_dies_says_how() -> None:
    with DecodeWorker() as worker:
        with pytest.raises(VideoUnreadable, match="ended with status 3: last words"):
            worker.call(die, 3)
        assert worker.call(process_id) > 0


@posix
def test_a_child_that_crashes_says_how() -> None:
    with DecodeWorker() as worker:
        with pytest.raises(VideoUnreadable, match="was ended by SIGABRT"):
            worker.call(abort)
        child = worker.call(process_id)
        os.kill(child, signal.SIGKILL)
        with pytest.raises(VideoUnreadable, match="was ended by SIGKILL"):
            worker.call(process_id)


def test_printing_and_reading_in_the_child_touch_nothing_of_the_caller(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with DecodeWorker() as worker:
        assert worker.call(chatter) == ""
        assert worker.call(process_id) > 0
    assert capfd.readouterr() == ("", "")


def test_calls_from_many_threads_each_get_their_own_answer() -> None:
    answers: dict[int, int] = {}
    with DecodeWorker() as worker:
        threads = [
            threading.Thread(target=lambda n=n: answers.update({n: worker.call(allocate, n)}))
            for n in range(1, 9)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {n: n for n in range(1, 9)}


def test_what_cannot_be_sent_is_refused_and_the_child_stays() -> None:
    with DecodeWorker() as worker:
        child = worker.call(process_id)
        with pytest.raises(UsageError, match="cannot be sent"):
            worker.call(lambda: None)
        assert worker.call(process_id) == child


def test_a_closed_worker_has_no_child_and_takes_no_calls() -> None:
    worker = DecodeWorker()
    child = worker.call(process_id)
    worker.close()
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    with pytest.raises(UsageError, match="closed"):
        worker.call(process_id)
