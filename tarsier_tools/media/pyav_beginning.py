"""Find the first picture of a recording that can be shown, and number the frames from it on.

A recording that was switched on or cut in mid-stream begins with pictures that refer to what was not
recorded: those before the first key picture, and those that lead it in the order of presentation. FFmpeg
drops them, so they are no frames of this video.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tarsier_tools.media.base import Deadline, Limits
from tarsier_tools.media.packets import MOST_REORDERED, Run
from tarsier_tools.media.pyav_feed import Feed
from tarsier_tools.media.pyav_scan import Track

_LONGEST_WAIT = 600
"""Packets in which a whole picture is looked for."""


def find_beginning(
    path: Path, source: str, limits: Limits, track: Track, codec: str, deadline: Deadline
) -> str:
    """Leave the pictures out of the table that can never be shown, where the recording begins with some.

    A leading picture that decodes right, as it refers to the key picture alone, stays.

    Args:
        path: the file.
        source: what the user typed.
        limits: what the file may cost.
        track: the track's packets; its table is changed.
        codec: FFmpeg's name of the codec.
        deadline: checked while decoding.

    Returns a sentence when more is left out than pictures that lead the first key picture; otherwise "".
    """
    table = track.table
    key = table.keys[0] if table.keys else len(table) - 1
    if not table.in_order and table.frame_of[key] <= 0 and key == 0 and track.starts_whole:
        return ""
    # H.264 cannot say that a group is open, so a start at one looks like an error in the data.
    feed = Feed(path, source, limits, table, strict=codec != "h264")
    with closing(feed):
        if table.in_order:
            table.begin_at(_never_come(feed, deadline))
            return ""
        # At a point of gradual refresh H.264 needs pictures before it, if only as something to refer to.
        start = key if table.keys and track.starts_whole else 0
        end = min(start + _LONGEST_WAIT, len(table) - 1)
        run = Run(start, end, sorted(int(frame) for frame in table.frame_of[start : end + 1] if frame >= 0))
        first = next((index for index, _, damaged in feed.pictures(run, deadline) if not damaged), 0)
        if first > table.frame_of[key] and feed.errors:
            return ""  # the key picture itself is damaged, which is to be told
    if not first:
        return ""
    before = track.timeline()[first]
    in_mid_stream = key > 0 or first > table.frame_of[key]
    table.begin_at(first)
    if not in_mid_stream:
        return ""
    return (
        f"The recording starts in mid-stream: {first} frames ({before:.2f} s) before its first whole picture "
        "are left out."
    )


def _never_come(feed: Feed, deadline: Deadline) -> int:
    """Count the pictures near the start that the decoder drops without an error; for counted frames."""
    table = feed.table
    end = min(3 * MOST_REORDERED, len(table) - 1)
    frames = sorted(int(frame) for frame in table.frame_of[: end + 1] if frame >= 0)
    came = sum(1 for _ in feed.pictures(Run(0, end, frames), deadline))
    return 0 if feed.errors else len(frames) - came
