"""A child process that decodes files of strangers, so that neither a crash nor a hang reaches the caller.

The child takes one call after another over a pipe, under limits on memory and time. When a limit is met or
the child dies, it is killed, and the next call starts a fresh one. It inherits neither the caller's standard
input nor its output, and imports only what the called function needs.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from types import TracebackType
from typing import IO, Any, Self, TypeVar

from tarsier_tools.errors import TarsierError, UsageError, VideoTooLarge, VideoUnreadable

MiB = 1 << 20

_T = TypeVar("_T")

_LENGTH = struct.Struct("!Q")

_GRACE_S = 2.0
"""Seconds over a call's limit before the child is killed, as the reader's own check says more."""

_START_S = 60.0
"""Seconds that a child may take to start."""

_CHILD = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from tarsier_tools.media.worker import serve; serve(int(sys.argv[1]))"
)


class DecodeWorker:
    """One child process that runs functions under limits. Thread-safe: calls wait for their turn.

    Args:
        memory_mb: address space of the child in MiB (POSIX; elsewhere only time is limited).
        timeout_s: seconds for a call that does not say.

    The child starts with the first call. Close the worker, or use it in a ``with`` block.
    """

    def __init__(self, *, memory_mb: int = 3072, timeout_s: float = 120.0) -> None:
        self._memory_mb = memory_mb
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._closed = False

    def call(self, function: Callable[..., _T], *args: object, timeout_s: float | None = None) -> _T:
        """What ``function(*args)`` returns, run in the child.

        Args:
            function: of a module's top level, so that it can be found again in the child.
            args: anything that can be pickled, as must be the result.
            timeout_s: seconds of real time, and of every core's time, for this call; None for the worker's.

        Raises VideoTooLarge when the child met a limit, VideoUnreadable when it died, UsageError when the
        worker is closed or something cannot be sent; whatever the function raises comes through as it is.
        """
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            request = pickle.dumps((timeout_s, function, args), protocol=pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UsageError(
                f"The call cannot be sent to the decoding worker: {error}.",
                hint="Call a function of a module's top level, with plain values.",
            ) from None
        with self._lock:
            if self._closed:
                raise UsageError("The decoding worker is closed.", hint="Make a new one.")
            if self._child is None:
                self._child = _Child(self._memory_mb)
            try:
                succeeded, value = self._child.ask(request, timeout_s)
            except BaseException:
                self._child.kill()
                self._child = None
                raise
        if succeeded:
            return value  # type: ignore[no-any-return]
        raise value

    def close(self) -> None:
        """End the child, if there is one. May be called more than once."""
        with self._lock:
            self._closed = True
            if self._child is not None:
                self._child.kill()
                self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Child:
    """The running process, seen from the caller."""

    def __init__(self, memory_mb: int) -> None:
        self._memory_mb = memory_mb
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed by kill)
        # -P: nothing is imported from the folder that the caller happens to stand in.
        command = [
            sys.executable,
            "-P",
            "-c",
            _CHILD,
            str(memory_mb),
            *filter(None, sys.path),
        ]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            # A pool of threads per core would eat the address space on a large machine.
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="decode-worker-pipe", daemon=True).start()
        try:
            self._wait(_START_S, "The decoding worker did not start within {limit:g} s.", "Try again.")
        except BaseException:
            self.kill()
            raise

    def ask(self, request: bytes, timeout_s: float) -> tuple[bool, Any]:
        """Whether the call succeeded, and its result or its error."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a dead child is found out while waiting for its answer
            _send(self._process.stdin, request)
        answer = self._wait(
            timeout_s + _GRACE_S,
            f"Decoding takes longer than the limit of {timeout_s:g} s.",
            "Raise decode_timeout_s (TARSIER_DECODE_TIMEOUT_S), or ask for a shorter range.",
        )
        succeeded, value = pickle.loads(answer)  # noqa: S301  (our own child, running our code)
        if not succeeded and isinstance(value, MemoryError):
            raise VideoTooLarge(
                f"Decoding takes more memory than the limit of {self._memory_mb} MiB.",
                hint="Raise worker_memory_mb (TARSIER_WORKER_MEMORY_MB), or scale the video down.",
            )
        return succeeded, value

    def kill(self) -> None:
        """End the process at once and give back its pipes."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # bytes that the child did not take
                pipe.close()
        self._errors.close()

    def _listen(self) -> None:
        """Pass answers on, and None at the end; a thread, as a pipe cannot be waited for everywhere."""
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError):  # the pipe was closed
            while (answer := _receive(self._process.stdout)) is not None:
                self._answers.put(answer)
        self._answers.put(None)

    def _wait(self, limit_s: float, message: str, hint: str) -> bytes:
        try:
            answer = self._answers.get(timeout=limit_s)
        except queue.Empty:
            raise VideoTooLarge(message.format(limit=limit_s), hint=hint) from None
        if answer is None:
            raise self._death(self._process.wait())
        return answer

    def _death(self, code: int) -> TarsierError:
        """The error that says how the child died."""
        if code < 0 and -code == getattr(signal, "SIGXCPU", None):
            return VideoTooLarge(
                "Decoding takes more processor time than its limit.",
                hint="Raise decode_timeout_s (TARSIER_DECODE_TIMEOUT_S), or ask for a shorter range.",
            )
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        self._errors.seek(0)
        words = self._errors.read().decode(errors="replace").strip().splitlines()
        last = f": {words[-1][:200]}" if words else ""
        return VideoUnreadable(
            f"The process that decoded the video {how}{last}.",
            hint="The file is damaged or made to do harm; convert it with another program first.",
        )


def serve(memory_mb: int) -> None:
    """The child's side: answer calls until the caller closes the pipe. Runs in a process of its own."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    # Whatever prints or reads in here must not touch the pipes.
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    _limit_memory(memory_mb)
    _send(answers, b"ready")
    while (request := _receive(requests)) is not None:
        _send(answers, _answer(request))


def _answer(request: bytes) -> bytes:
    try:
        timeout_s, function, args = pickle.loads(request)  # noqa: S301  (from the caller, who runs the same code)
        _limit_processor_time(timeout_s)
        return pickle.dumps((True, function(*args)), protocol=pickle.HIGHEST_PROTOCOL)
    except MemoryError:
        return pickle.dumps((False, MemoryError()))
    except Exception as error:  # noqa: BLE001  (all of them go to the caller)
        try:
            return pickle.dumps((False, error))
        except Exception:  # noqa: BLE001  (an error may hold anything)
            return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))


def _limit_memory(memory_mb: int) -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_mb * MiB, memory_mb * MiB))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_processor_time(seconds: float) -> None:
    """All threads together; the system ends the process when the time is used up."""
    if sys.platform != "win32":
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        cores = os.cpu_count() or 1
        budget = used.ru_utime + used.ru_stime + (seconds + _GRACE_S) * cores
        resource.setrlimit(resource.RLIMIT_CPU, (int(budget) + 1, resource.RLIM_INFINITY))


def _send(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(_LENGTH.pack(len(message)))
    pipe.write(message)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes | None:
    """One message; None at the end of the pipe."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    message = pipe.read(length)
    return message if len(message) == length else None
