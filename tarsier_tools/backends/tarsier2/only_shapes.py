"""Refuse every clip that a model of drawn shapes cannot understand, or warn when told to answer anyway."""

from __future__ import annotations

from tarsier_tools.errors import NotUnderstood
from tarsier_tools.selfcheck.recognizing import shows_shapes
from tarsier_tools.types import Clip

_REAL_MODEL = "Set TARSIER_MODEL to a Tarsier2 checkpoint or TARSIER_BASE_URL to a server that runs one."
_MOST_CLIPS = 4096
"""Clips whose verdict is remembered."""


class OnlyShapes:
    """Test each clip once, before the model is asked about it.

    Args:
        name: of the model.
        anyway: let it answer about any clip.
    """

    def __init__(self, name: str, anyway: bool) -> None:
        self._name, self._anyway = name, anyway
        self._verdicts: dict[str, bool] = {}

    def caution(self, clip: Clip) -> str:
        """Return what a reader must know before the model's words about a clip; "" for a clip of shapes.

        Raises NotUnderstood for any other clip, unless it is to be answered anyway.
        """
        shapes = self._verdicts.get(clip.fingerprint)
        if shapes is None:
            if len(self._verdicts) >= _MOST_CLIPS:
                self._verdicts.clear()
            shapes = self._verdicts[clip.fingerprint] = shows_shapes(clip.frames)
        if shapes:
            return ""
        if not self._anyway:
            raise NotUnderstood(
                f"The bundled model {self._name} understands only films of drawn shapes, and this video is "
                "not one. Any answer would be made up.",
                hint=f"{_REAL_MODEL} To get the made-up answer anyway, add --anyway or set TARSIER_ANYWAY=1.",
            )
        return (
            f"This answer is made up: the bundled model {self._name} understands only films of drawn shapes, "
            f"and this video is not one. {_REAL_MODEL}"
        )
