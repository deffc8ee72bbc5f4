"""The arguments that several tools of an agent share, with what the model is told of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

MAX_PAGE = 10_000

Video = Annotated[
    str,
    Field(min_length=1, description="Path of a video file, or its https address. See list_videos for files."),
]
Start = Annotated[
    float | None, Field(ge=0, description="Look only from this second on; null for the video's start.")
]
End = Annotated[
    float | None, Field(ge=0, description="Look only up to this second; null for the video's end.")
]
Language = Annotated[
    str | None,
    Field(description="Of the reply: a BCP 47 tag such as en or zh-Hans; null for the default."),
]
Page = Annotated[int, Field(ge=1, le=MAX_PAGE, description="Of a long reply; the reply names the next page.")]
