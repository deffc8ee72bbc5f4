"""Finding a checkpoint: a folder, or a hub id that is downloaded once."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tarsier_tools.errors import BackendUnavailable

_WANTED_FILES = ["*.json", "*.safetensors", "*.jinja", "merges.txt"]


def find_checkpoint(model: str, revision: str | None) -> tuple[Path, str]:
    """The folder of a checkpoint and its revision ("" for a local folder).

    ``model`` is a folder, for which nothing is asked of the network, or a hub id ``owner/name``, which is
    downloaded into the hub's usual cache. Raises BackendUnavailable.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise BackendUnavailable(
                f"{model} is a folder, which has no revision {revision!r}.",
                hint="Leave TARSIER_REVISION unset.",
            )
        return folder, ""
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", model):
        raise BackendUnavailable(
            f"There is no checkpoint folder {model}.",
            hint="Give a folder, or a hub id such as omni-research/Tarsier2-Recap-7b.",
        )
    return _download(model, revision)


def _download(repo: str, revision: str | None) -> tuple[Path, str]:
    at = f" at revision {revision}" if revision else ""
    try:
        path = Path(snapshot_download(repo, revision=revision, allow_patterns=_WANTED_FILES))
    except GatedRepoError as error:
        raise BackendUnavailable(
            f"{repo} is gated and this account has no access.",
            hint=f"Ask for access on the page of {repo}, then type: hf auth login",
        ) from error
    except RepositoryNotFoundError as error:
        raise BackendUnavailable(
            f"The hub has no {repo}, or it is private.",
            hint="Check the name; for a private one type: hf auth login",
        ) from error
    except RevisionNotFoundError as error:
        raise BackendUnavailable(
            f"{repo} has no revision {revision}.", hint="Give a commit, tag or branch of it."
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise BackendUnavailable(
            f"{repo}{at} is not on this machine and the hub cannot be reached.",
            hint=f"With a network, type: hf download {repo}; or give a folder that holds the checkpoint.",
        ) from error
    except Exception as error:  # the hub's client lets errors of its HTTP library and of the disk through
        raise BackendUnavailable(
            f"{repo}{at} cannot be downloaded: {error}.", hint="Check the name and the free disk space."
        ) from error
    return path, path.name  # the snapshot's folder is named by its commit
