"""Jobs on disk: one JSON file each, so that they outlive the server.

The folder is the server's own: files are readable by its user only, and hold questions and answers in the
clear.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
from pathlib import Path
from typing import Any, cast, get_args

from tarsier_mcp.jobs import Job, LaneName, Outcome, Picture
from tarsier_tools import UsageError

logger = logging.getLogger(__name__)

_VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9_-]{20,40}\.json")


class JobFiles:
    """A folder of jobs.

    Raises UsageError when the folder cannot be made or written to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = folder / ".probe"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise UsageError(
                f"The state folder {folder} cannot be used: {error.strerror}.", hint="Give another one."
            ) from None

    def save(self, job: Job, forgotten: bool = False) -> None:
        """Write a job, or remove its file when it is forgotten. A full disk is logged, the job goes on."""
        path = self._folder / f"{job.id}.json"
        try:
            if forgotten:
                path.unlink(missing_ok=True)
                return
            half = path.with_suffix(".half")
            descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(_written(job), file)
                file.flush()
                os.fsync(file.fileno())
            half.replace(path)
        except OSError as error:
            logger.error("A job cannot be kept in the state folder: %s", error.strerror)

    def load(self) -> list[Job]:
        """All jobs in the folder, in the order in which they began. A file that cannot be read is logged."""
        jobs = []
        for path in sorted(self._folder.iterdir()):
            if not _NAME.fullmatch(path.name):
                continue
            try:
                jobs.append(_read(path.stem, json.loads(path.read_text("utf-8"))))
            except (OSError, ValueError, KeyError, TypeError):
                logger.warning("The job file %s cannot be read and is left alone", path.name)
        return sorted(jobs, key=lambda job: job.created_at)


def _written(job: Job) -> dict[str, Any]:
    outcome = job.outcome
    return {
        "version": _VERSION,
        "owner": job.owner,
        "tool": job.tool,
        "arguments": job.arguments,
        "lane": job.lane,
        "key": job.key,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "status": job.status,
        "outcome": outcome
        and {
            "text": outcome.text,
            "result": outcome.result,
            "pictures": [
                {"jpeg": base64.b64encode(picture.jpeg).decode(), "caption": picture.caption}
                for picture in outcome.pictures
            ],
            "is_error": outcome.is_error,
            "retryable": outcome.retryable,
            "unforeseen": outcome.unforeseen,
        },
    }


def _lane(name: str) -> LaneName:
    if name not in get_args(LaneName):
        raise ValueError("written by another version")
    return cast(LaneName, name)


def _read(job_id: str, written: dict[str, Any]) -> Job:
    if written["version"] != _VERSION:
        raise ValueError("written by another version")
    outcome = written["outcome"]
    done = written["finished_at"] is not None
    return Job(
        id=job_id,
        owner=str(written["owner"]),
        tool=str(written["tool"]),
        arguments=dict(written["arguments"]),
        lane=_lane(str(written["lane"])),
        key=str(written["key"]),
        created_at=float(written["created_at"]),
        finished_at=float(written["finished_at"]) if done else None,
        status=written["status"] if done else "queued",
        kept=True,
        outcome=None
        if outcome is None
        else Outcome(
            text=str(outcome["text"]),
            result=outcome["result"],
            pictures=tuple(
                Picture(base64.b64decode(picture["jpeg"]), str(picture["caption"]))
                for picture in outcome["pictures"]
            ),
            is_error=bool(outcome["is_error"]),
            retryable=bool(outcome["retryable"]),
            unforeseen=bool(outcome["unforeseen"]),
        ),
    )
