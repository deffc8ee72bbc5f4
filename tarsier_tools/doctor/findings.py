"""What a check found, and what all of them come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["ok", "warn", "fail"]

EXIT_CODES: dict[Status, int] = {"ok": 0, "warn": 1, "fail": 2}


class Finding(BaseModel):
    """The result of one check."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="What was checked, in a word or two.")
    status: Status = Field(
        description="ok: right. warn: works, and you should know. fail: answers are wrong."
    )
    detail: str = Field(description="What was seen, in one sentence.")
    hint: str = Field(default="", description="What to do about it; empty when nothing needs doing.")
    figures: dict[str, float] = Field(
        default={}, description="What was measured, by name; seconds, tokens, tokens per second or shares."
    )


class Accuracy(BaseModel):
    """How often the model was right about one kind of question."""

    model_config = ConfigDict(frozen=True)

    task: str = Field(description="Language and kind of question, for example en yes/no.")
    value: float = Field(ge=0, le=1, description="Share that was right; for locating the mean overlap.")
    low: float = Field(ge=0, le=1, description="Lower end of the 95 % interval.")
    high: float = Field(ge=0, le=1, description="Upper end of the 95 % interval.")
    clips: int = Field(ge=1, description="Films that were asked about.")
    stated: float | None = Field(default=None, description="What the checkpoint's own card says, if it does.")


class Diagnosis(BaseModel):
    """Whether a deployment is right."""

    model_config = ConfigDict(frozen=True)

    status: Status = Field(description="The worst of the findings.")
    backend: str = Field(description="What was looked at: tiny, local or remote.")
    reason: str = Field(description="Why that one.")
    findings: tuple[Finding, ...] = Field(description="In the order of the checks.")
    accuracy: tuple[Accuracy, ...] = Field(default=(), description="With --quality: by kind of question.")

    @property
    def exit_code(self) -> int:
        """0 for ok, 1 for warn, 2 for fail."""
        return EXIT_CODES[self.status]


def worst(findings: Sequence[Finding]) -> Status:
    """The status of all findings together."""
    return max((finding.status for finding in findings), key=EXIT_CODES.__getitem__, default="ok")
