"""Is this deployment right? Checks of the machine, and of whatever answers: frames, order, times, speed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tarsier_tools.backends import TINY_FOLDER, choose_backend, open_backend
from tarsier_tools.backends.base import Backend
from tarsier_tools.config import Settings
from tarsier_tools.doctor import agreement, host, quality, seeing, serving
from tarsier_tools.doctor.findings import Accuracy, Diagnosis, Finding, Status, worst
from tarsier_tools.errors import BackendUnavailable, Cancelled, TarsierError, UsageError
from tarsier_tools.service import VideoService
from tarsier_tools.types import Progress, no_progress

__all__ = ["Accuracy", "Diagnosis", "Finding", "Status", "examine"]

Checks = dict[str, Callable[[], Finding]]

_GROUND = ("backend", "frames arrive")
"""Checks on which all that follow rest."""


def examine(
    settings: Settings,
    *,
    compare_with: str | None = None,
    clips: int = 0,
    on_progress: Progress = no_progress,
) -> Diagnosis:
    """Check this machine, and the backend that the settings lead to.

    A check that raises an error of this package has failed with it. When nobody answers any more, or frames
    do not arrive as they were sent, the checks of the backend that are left would say nothing, and are not
    made.

    Args:
        compare_with: a checkpoint folder or hub id, or ``tiny`` for the bundled one; run here as well, and
            its replies compared.
        clips: films of the shapes world to measure accuracy on; 0 for none.

    Raises UsageError when the settings make no sense; Cancelled from on_progress.
    """
    if clips < 0:
        raise UsageError(f"clips must be at least 0, got {clips}.", hint="Give a number of films.")
    # Its films lie in a temporary folder, and not all that it shows are films of shapes.
    settings = settings.model_copy(update={"allowed_roots": None, "anyway": True})
    name, reason = choose_backend(settings)
    findings = _made(_of_host(settings, local=name != "remote"), on_progress)
    accuracy: tuple[Accuracy, ...] = ()
    on_progress(0, 1, "opening the model")
    try:
        backend = open_backend(settings)
    except TarsierError as error:
        findings.append(_failed("backend", error))
    else:
        with backend, VideoService(settings, backend) as service:
            findings += _made(_of_backend(settings, backend, service), on_progress)
            if worst(findings) != "fail" and compare_with is not None:
                findings += _made(
                    {"agreement": lambda: _compared(settings, backend, compare_with)}, on_progress
                )
            if worst(findings) != "fail" and clips:
                accuracy = quality.measure(
                    service, clips, stated=_stated(settings, name), on_progress=on_progress
                )
                findings.append(quality.judged(accuracy))
    return Diagnosis(
        status=worst(findings), backend=name, reason=reason, findings=tuple(findings), accuracy=accuracy
    )


def _of_host(settings: Settings, *, local: bool) -> Checks:
    checks: Checks = {"versions": host.check_versions}
    if local:
        checks["device"] = lambda: host.check_device(settings)
    checks["decoder"] = lambda: host.check_decoder(settings)
    return checks


def _of_backend(settings: Settings, backend: Backend, service: VideoService) -> Checks:
    return {
        "backend": lambda: _answers(backend),
        "frames arrive": lambda: seeing.check_arrival(backend, settings.frames),
        "probabilities": lambda: serving.check_probabilities(backend),
        "every frame counts": lambda: seeing.check_every_frame(backend),
        "sees what is there": lambda: seeing.check_content(backend),
        "frames in order": lambda: seeing.check_order(backend),
        "times": lambda: agreement.check_times(service),
        "greedy": lambda: serving.check_determinism(backend),
        "reuse": lambda: serving.check_reuse(backend),
        "context": lambda: serving.check_length(backend, settings),
        "speed": lambda: serving.check_speed(backend, settings),
    }


def _made(checks: Checks, on_progress: Progress) -> list[Finding]:
    """The findings of the checks, up to the one after which no other makes sense."""
    findings: list[Finding] = []
    for done, (name, check) in enumerate(checks.items()):
        on_progress(done, len(checks), f"checking: {name}")
        try:
            finding, gone = check(), False
        except Cancelled:
            raise
        except TarsierError as error:
            finding, gone = _failed(name, error), isinstance(error, BackendUnavailable)
        findings.append(finding)
        if gone or (finding.status == "fail" and name in _GROUND):
            break
    return findings


def _failed(name: str, error: TarsierError) -> Finding:
    return Finding(name=name, status="fail", detail=error.message, hint=error.hint)


def _answers(backend: Backend) -> Finding:
    """Which model answers."""
    info = backend.info
    where = ", ".join(part for part in (info.backend, info.device, info.dtype) if part)
    length = f"; up to {info.context_tokens} tokens" if info.context_tokens else ""
    note = f" {info.abilities.note}" if info.abilities.note else ""
    return Finding(name="backend", status="ok", detail=f"{info.name} answers ({where}){length}.{note}")


def _compared(settings: Settings, backend: Backend, model: str) -> Finding:
    bundled = model == "tiny"
    changes = {"backend": "tiny" if bundled else "local", "model": None if bundled else model}
    with open_backend(settings.model_copy(update={**changes, "base_url": None})) as other:
        return agreement.check_agreement(backend, other)


def _stated(settings: Settings, name: str) -> dict[str, float]:
    """What the makers of the checkpoint say of its accuracy, where the checkpoint is at hand."""
    if name == "tiny":
        return quality.stated_by(TINY_FOLDER)
    return quality.stated_by(Path(settings.model)) if name == "local" and settings.model else {}
