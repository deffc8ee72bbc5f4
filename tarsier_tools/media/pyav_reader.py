"""Decode the wanted frames of a video file with PyAV, in one pass that decodes as little as it can.

The packets are listed first, without decoding. The list tells which packets each wanted frame needs; the
rest is skipped in three ways: whole groups of pictures by seeking or by reading past them, pictures that no
other one refers to by telling the decoder, and the tail after the last wanted frame.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from av.video.reformatter import VideoReformatter

from tarsier_tools.errors import VideoUnreadable
from tarsier_tools.media.base import Deadline, Frame, Limits, Rendering, VideoReader
from tarsier_tools.media.packets import Run
from tarsier_tools.media.pyav_beginning import find_beginning
from tarsier_tools.media.pyav_feed import Feed
from tarsier_tools.media.pyav_file import codec_of, describe, mapped_errors, opened
from tarsier_tools.media.pyav_pictures import Facts, Pictures
from tarsier_tools.media.pyav_scan import scan

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_FIRST_TRIES = 8
"""Pictures that are tried before a video counts as one that cannot be decoded at all."""


class PyAVReader(VideoReader):
    """Reads a video file with PyAV.

    Args:
        path: the file.
        source: what the user typed.
        limits: what the file may cost.
        rendering: what is done to its pictures.

    Raises VideoUnreadable or VideoTooLarge with the reason.
    """

    def __init__(self, path: Path, *, source: str, limits: Limits, rendering: Rendering) -> None:
        super().__init__(limits)
        self._path = path
        self._source = source
        self._lead = 0  # key packets to start earlier than should be needed
        self._strict = True  # see Feed
        self._lock = threading.Lock()
        self._idle: Feed | None = None
        self._closed = False
        deadline = Deadline(limits.timeout_s, source)
        with mapped_errors(source, limits), opened(path, source, limits) as (container, stream):
            self.track = scan(container, stream, path, source, deadline)
            beginning = find_beginning(path, source, limits, self.track, codec_of(stream), deadline)
            self.timeline = self.track.timeline()
            info = describe(container, stream, self.track, source)
            facts = Facts.of(stream)
        if self.track.cut_short:
            self._note(f"The file is cut short: {self.track.cut_short}.")
        for note in (beginning, *self.track.notes, *self.track.losses(path, deadline)):
            if note:
                self._note(note)
        self._lead = 0 if self.track.starts_whole else 1
        picture = self._any_picture(info.codec, deadline)
        self._pictures = Pictures(picture, facts, rendering, limits, self._note)
        self.info = info.model_copy(update=self._pictures.info)

    def _any_picture(self, codec: str, deadline: Deadline) -> VideoFrame:
        """A picture, the first one if possible: only a decoded one tells how it is to be turned."""
        table = self.track.table
        tries = dict.fromkeys(table.frame_count * place // _FIRST_TRIES for place in range(_FIRST_TRIES))
        # A start at an open group counts as an error with H.264, as it has no way to say that it is one.
        open_groups = codec == "h264" and (table.has_open_groups() or not self.track.starts_whole)
        for self._strict in (False,) if open_groups else (True, False):
            with self._feed() as feed:
                for frame in tries:
                    for _, picture, _ in feed.pictures(next(table.plan([frame])), deadline):
                        return picture
                    if self._strict:
                        break  # if the first picture is refused, it may be for a fault that they all have
        raise VideoUnreadable(
            f"Not one picture of {self._source} can be decoded.",
            hint="The file is damaged; make or copy it again.",
        )

    @contextlib.contextmanager
    def _feed(self) -> Generator[Feed]:
        """An open file of one's own: the one that the last user gave back, if any, as opening takes long."""
        with mapped_errors(self._source, self._limits), contextlib.ExitStack() as stack:
            with self._lock:
                feed, self._idle = self._idle, None
            if feed is None or feed.strict != self._strict:
                if feed is not None:
                    feed.close()
                feed = Feed(self._path, self._source, self._limits, self.track.table, strict=self._strict)
            stack.callback(feed.close)  # after an error; otherwise it is given back
            yield feed
            with self._lock:
                if self._idle is None and not self._closed:
                    self._idle = feed
                    stack.pop_all()

    def close(self) -> None:
        """Close the file; may be called more than once."""
        with self._lock:
            self._closed = True
            feed, self._idle = self._idle, None
        if feed is not None:
            feed.close()

    def _decode(self, wanted: list[int], deadline: Deadline) -> Generator[Frame]:
        table = self.track.table
        rgb = VideoReformatter()
        together = max if deadline.in_stretches else sum
        needed = together(run.end - run.start + 1 for run in table.plan(wanted, lead=self._lead))
        self._limits.check_decoded(needed, self._source)
        pending = deque(wanted)
        with self._feed() as feed:
            while pending:
                run = next(table.plan(pending, lead=self._lead))
                last = run.frames[-1]
                for index, picture, damaged in feed.pictures(run, deadline):
                    if (damaged or index > pending[0]) and self._started_too_late(run, feed):
                        break
                    while pending[0] < index:
                        pending.popleft()  # it did not come out
                    if pending[0] == index:
                        pending.popleft()
                        yield self._frame(index, picture, damaged, rgb)
                    if not pending or pending[0] > last:
                        break
                else:
                    if self._started_too_late(run, feed):
                        continue
                    while pending and pending[0] <= last:
                        pending.popleft()

    def _started_too_late(self, run: Run, feed: Feed) -> bool:
        """Whether what did not come out right may do so from an earlier key packet, as with intra refresh."""
        if feed.errors or self._lead or run.start == 0:
            return False
        self._lead = 1
        return True

    def _frame(self, index: int, picture: VideoFrame, damaged: bool, rgb: VideoReformatter) -> Frame:
        self._limits.check_frame(picture.width, picture.height, self._source)
        image, size = self._pictures.shown(picture, rgb)
        return Frame(index, float(self.timeline[index]), image, damaged, size)
