"""From scores to confidences: a file beside the checkpoint, fitted on labelled windows.

The confidence of a score is ``sigmoid(slope * evidence + intercept)`` (Platt, "Probabilistic outputs for
support vector machines", 1999): how often an event that scored so in a window of the calibration set was
really there. That holds for videos and events like those of the set.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tarsier_tools import languages, prompts
from tarsier_tools.config import Settings
from tarsier_tools.errors import UsageError
from tarsier_tools.locating.scorers import ScorerName, logit, sigmoid
from tarsier_tools.prompts import Language
from tarsier_tools.types import ModelInfo

NAME = "calibration.json"
"""The file beside a checkpoint."""

_SAMPLE = 1 << 20
"""Bytes read from either end of a file of weights: enough to tell checkpoints apart in no time."""

_GEOMETRY = 2.0
"""A window this many times longer or shorter than those of the calibration set is another matter."""


class Fit(BaseModel):
    """One method's curve, and what it was fitted on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: ScorerName
    slope: float = Field(gt=0, description="Per nat of evidence.")
    intercept: float
    languages: tuple[str, ...] = Field(min_length=1, description="Of the prompts, as BCP 47 tags.")
    prompts: str = Field(description="Digest of the prompts, see prompt_version.")
    frames: int = Field(ge=1, description="Shown of each window.")
    window_s: tuple[float, float] = Field(description="The shortest and the longest window.")
    windows: int = Field(ge=1, description="Windows that were scored.")
    positives: int = Field(ge=1, description="Of those, how many show the event.")
    expected_error: float | None = Field(
        description="Expected calibration error on videos left out in turn; None with too few of them."
    )

    def confidence(self, evidence: float) -> float:
        """0 to 1."""
        return sigmoid(self.slope * evidence + self.intercept)

    def least(self, confidence: float) -> float:
        """The evidence that has this confidence."""
        return (logit(confidence) - self.intercept) / self.slope


class Calibration(BaseModel):
    """The file: curves for one checkpoint, by method."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    model: str = Field(description="Name of the checkpoint.")
    fingerprint: str = Field(description="Of its weights, see fingerprint().")
    fitted_on: str = Field(description="The calibration set, in words.")
    fits: tuple[Fit, ...]

    def save(self, path: Path) -> None:
        """Write the file. Raises UsageError when that is not possible."""
        try:
            path.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror}.", hint="Give another file to write to."
            ) from error


@dataclass(frozen=True, slots=True)
class Found:
    """What can be used of a calibration file for one call.

    Attributes:
        fit: None when there is none that fits.
        fitted_on: for results; "" without a fit.
        warnings: why not, or what to keep in mind.
    """

    fit: Fit | None = None
    fitted_on: str = ""
    warnings: tuple[str, ...] = ()


def find(settings: Settings, info: ModelInfo, method: ScorerName, language: Language) -> Found:
    """The curve for a model and a method: of the file in the settings, else of the one beside the weights.

    Raises UsageError when the file of the settings cannot be read or is for another model, other prompts or
    another method. The one beside the weights is left aside in such a case, and the warnings say so.
    """
    path = settings.calibration or (Path(info.folder) / NAME if info.folder else None)
    if path is None or (settings.calibration is None and not path.is_file()):
        return Found()
    try:
        return _usable(load(path), info, method, language)
    except UsageError as error:
        if settings.calibration is not None:
            raise
        return Found(warnings=(f"{error.message} So scores are raw.",))


def load(path: Path) -> Calibration:
    """Read a calibration file. Raises UsageError when it is none."""
    try:
        return Calibration.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(
            f"The calibration {path} cannot be read: {error.strerror}.",
            hint="Check the path, or leave TARSIER_CALIBRATION away.",
        ) from error
    except (ValueError, RecursionError) as error:
        issues = error.errors() if isinstance(error, ValidationError) else []
        reason = "; ".join(f"{issue['loc']}: {issue['msg']}" for issue in issues[:3]) or "it is not JSON"
        raise UsageError(
            f"{path} is no calibration file: {reason}.", hint="Make one with: tarsier-tools calibrate."
        ) from error


def fingerprint(info: ModelInfo) -> str:
    """What tells a checkpoint from others: hex SHA-256.

    For a folder, over config.json and, of each file of weights, its name, its size and its first and last
    MiB; for a model elsewhere, over its name and revision.
    """
    digest = hashlib.sha256()
    if not info.folder:
        digest.update(f"{info.backend} {info.name} {info.revision}".encode())
        return digest.hexdigest()
    folder = Path(info.folder)
    for path in sorted([folder / "config.json", *folder.glob("*.safetensors"), *folder.glob("*.bin")]):
        size = path.stat().st_size
        digest.update(f"{path.name} {size};".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLE))
            file.seek(max(0, size - _SAMPLE))
            digest.update(file.read())
    return digest.hexdigest()


def prompt_version(method: ScorerName, tags: Sequence[Language]) -> str:
    """A digest that changes when a prompt of the method does, in one of these languages."""
    digest = hashlib.sha256()
    for tag in sorted(tags):
        texts = (
            (prompts.yes_no(prompts.happens("{event}", tag), tag), *prompts.yes_no_words(tag))
            if method == "yes_no"
            else (prompts.caption(tag),)
        )
        digest.update("\n".join((tag, *texts, "")).encode())
    return digest.hexdigest()[:16]


def platt(evidence: Sequence[float], there: Sequence[bool]) -> tuple[float, float]:
    """Slope and intercept of the logistic curve that fits best, by Newton's method.

    The targets are Platt's, (n+ + 1) / (n+ + 2) and 1 / (n- + 2) instead of 1 and 0, so that a set that can
    be told apart without an error gives no infinite slope.

    Raises ValueError without a case of either kind, or when more evidence does not speak for the event.
    """
    x, y = np.asarray(evidence, np.float64), np.asarray(there, bool)
    positives, negatives = int(y.sum()), int((~y).sum())
    if not positives or not negatives:
        raise ValueError(
            f"{positives} windows show the event and {negatives} do not: some of both are needed"
        )
    centre, scale = float(x.mean()), float(x.std()) or 1.0
    z = (x - centre) / scale
    target = np.where(y, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    design = np.stack([z, np.ones_like(z)], axis=1)
    weights = np.array([1.0, math.log((positives + 1) / (negatives + 1))])

    def loss(values: np.ndarray) -> float:
        logits = design @ values
        return float((np.logaddexp(0, logits) - target * logits).sum())

    for _ in range(100):
        share = 1 / (1 + np.exp(-np.clip(design @ weights, -60, 60)))
        gradient = design.T @ (share - target)
        hessian = (design * (share * (1 - share))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while loss(weights - size * step) > loss(weights) and size > 1e-6:
            size /= 2
        weights = weights - size * step
        if float(np.abs(size * step).max()) < 1e-9:
            break
    slope = float(weights[0]) / scale
    if slope <= 0:
        raise ValueError("more evidence does not speak for the event: the model cannot tell these events")
    return slope, float(weights[1]) - slope * centre


def expected_error(confidences: Sequence[float], there: Sequence[bool], bins: int = 10) -> float:
    """Expected calibration error, 0 to 1: mean |confidence - frequency| over equal bins, by their sizes.

    Guo et al., "On calibration of modern neural networks", 2017.
    """
    p, y = np.asarray(confidences, np.float64), np.asarray(there, np.float64)
    number = np.minimum((p * bins).astype(int), bins - 1)
    gaps = [abs(float((p - y)[number == one].sum())) for one in range(bins)]
    return sum(gaps) / len(p)


def geometry_warnings(fit: Fit, window_s: float, frames: int) -> tuple[str, ...]:
    """What to say of windows unlike those of the calibration set."""
    low, high = fit.window_s
    if low / _GEOMETRY <= window_s <= high * _GEOMETRY and fit.frames / 2 <= frames <= fit.frames * 2:
        return ()
    return (
        f"The calibration was fitted on windows of {low:g} to {high:g} s with {fit.frames} frames; here they "
        f"have {window_s:g} s and {frames}, so the confidences may be off.",
    )


def _usable(file: Calibration, info: ModelInfo, method: ScorerName, language: Language) -> Found:
    if file.fingerprint != fingerprint(info):
        raise UsageError(
            f"The calibration was fitted for other weights ({file.model}), not for those of {info.name}.",
            hint="Fit one for this model with: tarsier-tools calibrate.",
        )
    fits = {fit.method: fit for fit in file.fits}
    if method not in fits:
        raise UsageError(
            f"The calibration is for {', '.join(fits) or 'nothing'}, not for the method {method}.",
            hint="Fit one for this method with: tarsier-tools calibrate --method.",
        )
    fit = fits[method]
    if fit.prompts != prompt_version(method, fit.languages):
        raise UsageError(
            "The calibration was fitted with other prompts than this version has.",
            hint="Fit it anew with: tarsier-tools calibrate.",
        )
    if not any(languages.same(tag, language) for tag in fit.languages):
        known = ", ".join(fit.languages)
        return Found(warnings=(f"The calibration is for {known}, not for {language}: scores are raw.",))
    counts = f"{fit.windows} windows, {fit.positives} with the event"
    return Found(fit, f"{file.fitted_on} ({counts}; {', '.join(fit.languages)})")
