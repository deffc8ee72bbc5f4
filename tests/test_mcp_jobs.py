"""The job store of the MCP server: joining, owners, expiry, cancellation, the queue, and jobs on disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tarsier_mcp.clients import EVERYBODY as LIMITS
from tarsier_mcp.follow import how_far
from tarsier_mcp.jobs import Busy, Job, JobStore, Outcome, Picture, UnknownJob
from tarsier_mcp.replies import unfinished
from tarsier_mcp.state import JobFiles

from tarsier_tools import Progress, UsageError
from tarsier_tools.types import Partial

SOON = 90.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in another thread."""
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


@dataclass
class Workshop:
    """Work that takes as long as the test says, and tells what it did."""

    begun: list[dict[str, Any]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def perform(self, tool: str, arguments: dict[str, Any], on_progress: Progress) -> Outcome:
        self.begun.append(arguments)
        on_progress(0, 2, "half of it")
        if tool == "broken":
            raise ZeroDivisionError("with a secret in it")
        if tool == "mistaken":
            return Outcome("There is no such file.", is_error=True)
        while tool == "slow" and not self.gate.wait(0.005):
            on_progress(1, 2, "the other half")
        return Outcome(f"done with {arguments}", {"number": len(self.begun)}, (Picture(b"\xff\xd8", "1 s"),))


@pytest.fixture
def shop() -> Workshop:
    return Workshop()


@pytest.fixture
def store(shop: Workshop) -> Iterator[JobStore]:
    store = JobStore(shop.perform)
    yield store
    shop.gate.set()
    assert store.close()


def begin(store: JobStore, tool: str = "slow", *, owner: str = "me", key: str = "", **arguments: Any) -> Job:
    return store.start(owner, tool, arguments, lane="model", key=key)


def test_a_job_ends_with_what_the_work_gave(store: JobStore) -> None:
    job = begin(store, "quick", n=1)
    until(lambda: job.done)
    assert job.status == "completed"
    assert job.outcome is not None
    assert job.outcome.text == "done with {'n': 1}"


def test_an_identical_call_joins_the_job_at_work_and_later_gets_what_came_of_it(
    store: JobStore, shop: Workshop
) -> None:
    first = begin(store, key="k")
    until(lambda: first.status == "running")
    assert begin(store, key="k") is first
    shop.gate.set()
    until(lambda: first.done)
    assert begin(store, key="k") is first
    assert len(shop.begun) == 1


def test_an_identical_call_of_somebody_else_is_another_job(store: JobStore) -> None:
    assert begin(store, key="k", owner="me") is not begin(store, key="k", owner="you")


@pytest.mark.parametrize("tool", ["mistaken", "broken"])
def test_what_failed_is_not_joined_but_tried_again(store: JobStore, tool: str) -> None:
    first = begin(store, tool, key="k")
    until(lambda: first.done)
    assert first.status == "failed"
    assert begin(store, tool, key="k") is not first


def test_an_unforeseen_failure_tells_nothing_of_its_inside(
    store: JobStore, caplog: pytest.LogCaptureFixture
) -> None:
    job = begin(store, "broken")
    until(lambda: job.done)
    assert job.outcome is not None
    assert job.outcome.is_error
    assert "secret" not in job.outcome.text
    assert "Zero" not in job.outcome.text
    assert "ZeroDivisionError" in caplog.text


def test_a_job_is_found_by_its_owner_and_by_nobody_else(store: JobStore) -> None:
    job = begin(store, "quick", owner="me")
    assert store.get(job.id, "me") is job
    assert store.get(job.id, None) is job
    for owner, job_id in (("you", job.id), ("me", job.id[:-1]), ("me", "")):
        with pytest.raises(UnknownJob):
            store.get(job_id, owner)


def test_ids_of_jobs_cannot_be_guessed(store: JobStore) -> None:
    ids = {begin(store, "quick").id for _ in range(50)}
    assert len(ids) == 50
    assert all(len(job_id) >= 22 for job_id in ids)


def test_a_job_that_nobody_waits_for_stops(store: JobStore) -> None:
    job = begin(store)
    until(lambda: job.status == "running")
    store.leave(job)
    until(lambda: job.done)
    assert job.status == "cancelled"


def test_a_job_goes_on_while_a_second_caller_waits_for_it(store: JobStore, shop: Workshop) -> None:
    job = begin(store, key="k")
    begin(store, key="k")
    store.leave(job)
    shop.gate.set()
    until(lambda: job.done)
    assert job.status == "completed"


def test_a_job_whose_id_was_given_out_goes_on_without_anybody_waiting(
    store: JobStore, shop: Workshop
) -> None:
    job = begin(store)
    store.keep(job)
    store.leave(job)
    shop.gate.set()
    until(lambda: job.done)
    assert job.status == "completed"


def test_a_cancelled_job_stops_at_its_next_step_and_is_not_joined_any_more(store: JobStore) -> None:
    job = begin(store, key="k")
    until(lambda: job.status == "running")
    store.cancel(job)
    assert begin(store, key="k") is not job
    until(lambda: job.done)
    assert job.status == "cancelled"


def test_a_job_that_still_waits_in_the_queue_is_cancelled_at_once(store: JobStore, shop: Workshop) -> None:
    first, second = begin(store), begin(store, n=2)
    until(lambda: first.status == "running")
    store.cancel(second)
    assert second.status == "cancelled"
    shop.gate.set()
    until(lambda: first.done)
    assert shop.begun == [{}]


def test_the_queue_tells_how_many_are_ahead(store: JobStore) -> None:
    first, second, third = begin(store), begin(store), begin(store)
    until(lambda: first.status == "running")
    assert [store.ahead_of(job) for job in (first, second, third)] == [0, 1, 2]


def test_what_needs_no_model_does_not_wait_for_the_model(store: JobStore) -> None:
    slow = begin(store)
    quick = store.start("me", "quick", {}, lane="light")
    until(lambda: quick.done)
    assert not slow.done


def test_a_full_queue_refuses_and_forgets(shop: Workshop) -> None:
    store = JobStore(shop.perform, waiting=1)
    first = begin(store)
    until(lambda: first.status == "running")
    begin(store)
    with pytest.raises(Busy):
        begin(store, key="k")
    shop.gate.set()
    until(lambda: first.done and not store.ahead_of(first))
    again = begin(store, "quick", key="k")
    until(lambda: again.done)
    assert store.close()


def test_a_listener_is_told_once_of_the_end_also_when_it_comes_late(store: JobStore, shop: Workshop) -> None:
    told: list[str] = []
    job = begin(store)
    with store.told(job, lambda: told.append("early")):
        shop.gate.set()
        until(lambda: told == ["early"])
    with store.told(job, lambda: told.append("late")):
        assert told == ["early", "late"]


def test_a_listener_that_left_is_not_told(store: JobStore, shop: Workshop) -> None:
    told: list[str] = []
    job = begin(store)
    with store.told(job, lambda: told.append("gone")):
        pass
    shop.gate.set()
    until(lambda: job.done)
    assert told == []


def test_an_ended_job_expires(shop: Workshop) -> None:
    store = JobStore(shop.perform, keep_s=3600)
    job = begin(store, "quick")
    until(lambda: job.done)
    assert store.get(job.id, "me") is job
    store.leave(job)
    assert job.finished_at is not None
    job.finished_at -= 3601
    with pytest.raises(UnknownJob):
        store.get(job.id, "me")
    assert store.close()


def test_only_so_many_ended_jobs_are_kept_and_the_oldest_go_first(shop: Workshop) -> None:
    store = JobStore(shop.perform, keep_jobs=3)
    jobs = []
    for _ in range(6):
        jobs.append(begin(store, "quick"))
        until(lambda: jobs[-1].done)
        store.leave(jobs[-1])
    for job in jobs[:3]:
        with pytest.raises(UnknownJob):
            store.get(job.id, "me")
    assert store.get(jobs[5].id, "me") is jobs[5]
    assert store.close()


def test_a_job_at_work_keeps_what_is_known_so_far(shop: Workshop) -> None:
    class Watching(Workshop):
        def perform(self, tool: str, arguments: dict[str, Any], on_progress: Progress) -> Outcome:
            on_progress(1, 2, Partial("0:00-0:04 A cat sleeps."))
            on_progress(1, 2, "describing segment 2 of 2")
            return shop.perform(tool, arguments, on_progress)

    watching = JobStore(Watching().perform)
    job = watching.start("me", "slow", {}, lane="model")
    until(lambda: bool(shop.begun))
    assert job.partial == ("0:00-0:04 A cat sleeps.",)
    told = unfinished(job, "at work", LIMITS)
    assert told.structured_content is not None
    assert told.structured_content["partial"] == "0:00-0:04 A cat sleeps."
    assert told.content[0].text.endswith("Known so far:\n0:00-0:04 A cat sleeps.")  # type: ignore[union-attr]
    shop.gate.set()
    assert watching.close()


@pytest.mark.parametrize(
    ("message", "said"),
    [("answering", "answering 1 of 5"), ("describing segment 2 of 5", "describing segment 2 of 5")],
)
def test_how_far_a_job_is_is_counted_once(message: str, said: str, shop: Workshop) -> None:
    class Counting(Workshop):
        def perform(self, tool: str, arguments: dict[str, Any], on_progress: Progress) -> Outcome:
            on_progress(1, 5, message)
            shop.gate.wait(SOON)
            return Outcome("done")

    counting = JobStore(Counting().perform)
    job = begin(counting)
    until(lambda: how_far(counting, job) == said)
    shop.gate.set()
    assert counting.close()


def test_of_a_long_partial_result_the_newest_lines_are_shown(store: JobStore) -> None:
    job = store.start("me", "quick", {}, lane="model")
    job.partial = tuple(f"{number:05} " + 50 * "x" for number in range(500))
    told = unfinished(job, "at work", LIMITS)
    assert told.structured_content is not None
    shown = told.structured_content["partial"].splitlines()
    assert shown[-1].startswith("00499")
    assert shown[0] == f"({500 - len(shown) + 1} lines before)"
    assert len("\n".join(shown)) < LIMITS.text_chars


def test_work_that_takes_too_long_is_stopped_and_says_so(shop: Workshop) -> None:
    store = JobStore(shop.perform, longest_s=0.02)
    job = begin(store)
    until(lambda: job.done)
    assert job.outcome is not None
    assert "longest" in job.outcome.text
    assert store.close()


# Jobs on disk


def on_disk(shop: Workshop, folder: Path) -> tuple[JobStore, JobFiles]:
    files = JobFiles(folder)
    store = JobStore(shop.perform, on_change=files.save)
    for job in files.load():
        store.revive(job)
    return store, files


def test_a_finished_job_survives_a_restart(shop: Workshop, tmp_path: Path) -> None:
    store, _ = on_disk(shop, tmp_path)
    job = begin(store, "quick", key="k", n=1)
    store.keep(job)
    until(lambda: job.done)
    assert store.close()
    store, _ = on_disk(shop, tmp_path)
    again = store.get(job.id, "me")
    assert (again.status, again.outcome) == ("completed", job.outcome)
    assert begin(store, "quick", key="k", n=1) is again
    assert store.close()


def test_a_job_that_a_restart_cut_short_begins_anew(shop: Workshop, tmp_path: Path) -> None:
    store, _ = on_disk(shop, tmp_path)
    job = begin(store, n=7)
    store.keep(job)
    until(lambda: job.status == "running")
    assert store.close()
    shop.gate.set()
    store, _ = on_disk(shop, tmp_path)
    until(lambda: store.get(job.id, "me").status == "completed")
    assert shop.begun == [{"n": 7}, {"n": 7}]
    assert store.close()


def test_a_job_that_its_owner_cancelled_stays_cancelled_after_a_restart(
    shop: Workshop, tmp_path: Path
) -> None:
    store, _ = on_disk(shop, tmp_path)
    job = begin(store)
    store.keep(job)
    store.cancel(job)
    until(lambda: job.done)
    assert store.close()
    store, _ = on_disk(shop, tmp_path)
    assert store.get(job.id, "me").status == "cancelled"
    assert store.close()


def test_a_job_that_was_not_given_out_leaves_nothing_on_disk(shop: Workshop, tmp_path: Path) -> None:
    store, _ = on_disk(shop, tmp_path)
    job = begin(store, "quick")
    until(lambda: job.done)
    assert store.close()
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_a_job_is_for_the_server_alone_and_goes_when_the_job_is_forgotten(
    shop: Workshop, tmp_path: Path
) -> None:
    store, _ = on_disk(shop, tmp_path / "state")
    job = begin(store, "quick")
    store.keep(job)
    until(lambda: job.done)
    (file,) = (tmp_path / "state").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0
    store.forget(job)
    assert list((tmp_path / "state").iterdir()) == []
    assert store.close()


def test_a_damaged_file_is_left_alone_and_the_others_are_read(shop: Workshop, tmp_path: Path) -> None:
    store, files = on_disk(shop, tmp_path)
    job = begin(store, "quick")
    store.keep(job)
    until(lambda: job.done)
    assert store.close()
    (tmp_path / f"{'x' * 24}.json").write_text('{"version": 1, "own')
    (tmp_path / "notes.txt").write_text("not ours")
    assert [found.id for found in files.load()] == [job.id]
    assert (tmp_path / f"{'x' * 24}.json").exists()


def test_a_state_folder_that_cannot_be_used_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="state folder"):
        JobFiles(tmp_path / "file")
