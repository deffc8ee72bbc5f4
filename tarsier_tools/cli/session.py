"""What surrounds the work of a command: the service, the progress bar, Ctrl-C, and the two consoles."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar
from rich.text import Text

from tarsier_tools.cli.failures import print_json
from tarsier_tools.cli.render import Look
from tarsier_tools.config import Settings
from tarsier_tools.errors import Cancelled
from tarsier_tools.reporting import Reportable, write_plot, write_report
from tarsier_tools.results import Localization
from tarsier_tools.text import clean_line
from tarsier_tools.types import Progress

if TYPE_CHECKING:
    from tarsier_tools.service import VideoService

T = TypeVar("T")

_STOPPING = b"\nStopping after this step; press Ctrl-C again to stop at once.\n"


def _open_service(settings: Settings) -> AbstractContextManager[VideoService]:
    from tarsier_tools.service import VideoService  # loads the decoder, which --help does without

    return VideoService(settings)


def _ignore(result: BaseModel) -> None:
    """The ``on_result`` that does nothing."""


@dataclass(frozen=True)
class Host:
    """Whoever runs the commands; given to the app as ``obj``.

    Attributes:
        open_service: makes the service of one command. The demo lends one service to several.
        on_result: is given every result, before it is shown.
    """

    open_service: Callable[[Settings], AbstractContextManager[VideoService]] = _open_service
    on_result: Callable[[BaseModel], None] = _ignore


class Screen:
    """Where the results of one command go. ``as_json``: as a JSON document, not for reading."""

    def __init__(self, context: typer.Context, *, as_json: bool) -> None:
        self.host: Host = context.find_root().obj or Host()
        self.as_json = as_json
        self._out = make_console()
        self._err = make_console(stderr=True)

    def look(self, why: str = "") -> Look:
        """What standard output can show, for the renderers; ``why`` as there."""
        return Look(
            width=self._out.width,
            wrap=self._out.is_terminal,
            ascii_only=self._out.options.ascii_only,
            why=why,
        )

    def show(self, result: BaseModel, lines: Iterable[Text]) -> None:
        """Print a result: the JSON document when that was asked for, else the lines.

        Lines are wrapped by words on a terminal and left unbroken elsewhere.
        """
        self.host.on_result(result)
        if self.as_json:
            print_json(result.model_dump(mode="json"))
            return
        for line in lines:
            self._out.print(line, soft_wrap=not self._out.is_terminal)

    def work(self, call: Callable[[Progress], T]) -> T:
        """Run ``call`` with a progress callback that draws a bar and lets Ctrl-C stop the work.

        Raises Cancelled after Ctrl-C, at the next step; a second Ctrl-C does not wait for that.
        """
        with _stop_on_interrupt() as stopped, _bar(self._err) as draw:

            def on_progress(done: int, total: int, message: str) -> None:
                if stopped.is_set():
                    raise Cancelled("Stopped before the end, as asked.")
                draw(done, total, message)

            result = call(on_progress)
            if stopped.is_set():
                raise Cancelled("Stopped before the end, as asked.")
        return result


class Session(Screen):
    """One command at work with a service, see :func:`session`."""

    def __init__(self, context: typer.Context, service: VideoService, *, as_json: bool) -> None:
        super().__init__(context, as_json=as_json)
        self.service = service

    def say_which_model(self) -> Look:
        """One line on standard error: which backend answers, and why; the look of answers that repeat it."""
        backend, reason = self.service.backend_choice
        self._err.print(Text(f"backend: {backend} ({clean_line(reason)})", style="dim"), soft_wrap=True)
        return self.look(reason)

    def report(self, result: Reportable | Sequence[Reportable], path: Path | None) -> None:
        """Write the page that was asked for, if one was; standard error says where."""
        if path is not None:
            self.work(lambda progress: write_report(result, self.service, path, on_progress=progress))
            self.say_where("report", path)

    def plot(self, result: Localization | Sequence[Localization], path: Path | None) -> None:
        """Draw the plot that was asked for, if one was; standard error says where."""
        if path is not None:
            write_plot(result, path)
            self.say_where("plot", path)

    def say_where(self, what: str, path: Path) -> None:
        self._err.print(Text(f"{what}: {clean_line(str(path))}", style="dim"), soft_wrap=True)


@contextmanager
def session(context: typer.Context, settings: Settings, *, as_json: bool) -> Iterator[Session]:
    """The service of one command, closed afterwards. Raises Cancelled as :func:`interruptible` does."""
    host = context.find_root().obj or Host()
    with interruptible(), host.open_service(settings) as service:
        yield Session(context, service, as_json=as_json)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raises Cancelled where the user interrupted what cannot be stopped gently."""
    try:
        yield
    except KeyboardInterrupt:
        raise Cancelled("Stopped by Ctrl-C.") from None


def make_console(*, stderr: bool = False) -> Console:
    """A console that prints text as it is: no markup, no emoji codes, no guessed colours."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


@contextmanager
def _stop_on_interrupt() -> Iterator[threading.Event]:
    """The event is set by Ctrl-C; a second one raises KeyboardInterrupt."""
    stopped = threading.Event()

    def interrupt(*_: object) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        os.write(2, _STOPPING)  # a signal can come in the middle of a print, which must not begin another

    if threading.current_thread() is not threading.main_thread():  # only there can signals be caught
        yield stopped
        return
    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def _bar(console: Console) -> Iterator[Progress]:
    """A progress callback that draws on a terminal, and elsewhere does nothing."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}", markup=False),
        TimeElapsedColumn(),
    )
    with ProgressBar(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("starting", total=1)

        def draw(done: int, total: int, message: str) -> None:
            bar.update(task, completed=done, total=max(total, 1), description=clean_line(message))

        yield draw
