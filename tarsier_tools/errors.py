"""Every error that this package raises on purpose.

::

    TarsierError                  hint (what to do next), retryable
      VideoError                  the video cannot be used as asked
        VideoNotFound             no such file, or the URL answers 404
        VideoUnreadable           the bytes are not a video that can be decoded
        VideoTooLarge             a limit was met: bytes, pixels, frames, memory or time
        VideoUnavailable          the server cannot be reached, is busy or broke off (retryable)
        SourceNotAllowed          outside the allowed folders, or a URL that the policy refuses
        TimeRangeError            the range asked for is not in the video
      BackendError                the model cannot answer
        BackendUnavailable        something is missing: an extra, weights, memory, a server
        BackendRejected           the request itself was refused: too long, not supported
          NotUnderstood           the clip shows what the model was never taught
        BackendTimeout            a server took longer than it may (retryable)
        BackendFailed             the model broke while it worked (retryable)
      ReplyError                  the model's text could not be read as asked for
      LibraryError                the library's file cannot be used
        UnknownVideo              no such video is in the library
        LibraryLocked             another process holds it for too long (retryable)
        LibraryTooNew             it was written by a later version
      UsageError                  an argument has a value that makes no sense (also a ValueError)
      Cancelled                   the caller asked to stop

The message says what happened in one sentence; ``hint`` says what to do next. Neither holds a key or a
stack. Exceptions of third parties are mapped to these where they are first seen.
"""

from __future__ import annotations


class TarsierError(Exception):
    """Base of all errors of this package.

    Attributes:
        hint: what the reader can do next; may be empty.
        retryable: True when the same call may succeed later without any change.
    """

    retryable: bool = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def message(self) -> str:
        """The sentence that says what happened, without the hint."""
        return str(self.args[0])

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders (the decoding worker); the default protocol drops keywords.
        return (_rebuild, (type(self), self.message, self.hint))


def _rebuild(kind: type[TarsierError], message: str, hint: str) -> TarsierError:
    return kind(message, hint=hint)


class VideoError(TarsierError):
    """The video cannot be used as asked."""


class VideoNotFound(VideoError):
    """There is no such file, or the URL answers that there is none."""


class VideoUnreadable(VideoError):
    """The bytes are not a video that can be decoded."""


class VideoTooLarge(VideoError):
    """A limit was met: bytes, pixels, frames, memory or time. The message names the limit."""


class VideoUnavailable(VideoError):
    """The server that has the video cannot be reached, is busy or broke off."""

    retryable = True


class SourceNotAllowed(VideoError):
    """The path is outside the allowed folders, or the URL policy refuses the address."""


class TimeRangeError(VideoError):
    """The range of time asked for is empty or not inside the video."""


class BackendError(TarsierError):
    """The model cannot answer."""


class BackendUnavailable(BackendError):
    """Something the backend needs is missing: an extra, weights, memory, a server."""


class BackendRejected(BackendError):
    """The request itself was refused, for example because it is too long."""


class NotUnderstood(BackendRejected):
    """The clip shows something that the model was never trained on: any answer would be made up."""


class BackendTimeout(BackendError):
    """A server took longer than it may. The message names the limit."""

    retryable = True


class BackendFailed(BackendError):
    """The model broke while it worked."""

    retryable = True


class ReplyError(TarsierError):
    """The model's text could not be read as asked for."""


class LibraryError(TarsierError):
    """The library's file cannot be used."""


class UnknownVideo(LibraryError):
    """No such video is in the library."""


class LibraryLocked(LibraryError):
    """Another process holds the library for too long."""

    retryable = True


class LibraryTooNew(LibraryError):
    """The library was written by a later version of this package."""


class UsageError(TarsierError, ValueError):
    """An argument has a value that makes no sense."""


class Cancelled(TarsierError):
    """The caller asked to stop; raised from a progress callback it ends the work at the next step."""
