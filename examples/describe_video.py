"""Describe a video, find when something happens, and see what the answers rest on.

    python examples/describe_video.py                          a small film made on the spot
    python examples/describe_video.py talk.mp4 "a door opens"   your own

The bundled model understands only films of drawn shapes. For real videos install torch for your
GPU and set TARSIER_MODEL=omni-research/Tarsier2-Recap-7b, or set TARSIER_BASE_URL to a server (see
docs/remote.md).
"""

from film import watched

from tarsier_tools import VideoService

video, event = watched()
with VideoService() as videos:
    caption = videos.caption(video)
    print(caption.text)
    coverage = caption.coverage
    print(f"It was shown {len(coverage.frame_times_s)} frames, at most {coverage.largest_gap_s:.1f} s apart.")

    found = videos.locate(video, event)
    for segment in found.segments:
        print(f"{event}: {segment.start_s:.1f} to {segment.end_s:.1f} s")
    if not found.found:
        print(f"{event}: not found")
    for warning in found.warnings:
        print(warning)
