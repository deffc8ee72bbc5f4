"""What a file is by its first bytes: the kinds that are read, and what to do about the others. Pure.

Names of files are never believed: only bytes are.
"""

from __future__ import annotations

READ = (
    "MP4, MOV, Matroska, WebM, AVI, MPEG-TS, MPEG-PS, FLV, Ogg, WMV/ASF, MXF, NUT, IVF, Y4M, DV, DHAV, GIF "
    "and raw H.264, HEVC, AV1, MPEG and Motion JPEG video"
)
"""Every kind of video file that is read, for messages."""

CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,live_flv,ogg,gif,asf,mxf,nut,ivf,"
    "yuv4mpegpipe,dhav,mpjpeg"
)
"""Demuxers of containers that nothing else is mistaken for. None of them opens another file."""

MOTION_JPEG = "mjpeg"
"""The demuxer of JPEG pictures one after the other."""

RAW = ("h264", "hevc", "obu", "m4v", "mpegvideo")
"""Demuxers of bare streams: pictures without times."""

_RAW_STARTS = (b"\0\0\1", b"\0\0\0\1", b"\x12\x00\x0a")
_DV_STARTS = (b"\x1f\x07\x00\x3f", b"\x1f\x07\x00\xbf")

_NOT_VIDEOS: tuple[tuple[bytes, str], ...] = (
    (b"#EXTM3U", "a playlist (playlists are never followed)"),
    (b"ffconcat", "a playlist (playlists are never followed)"),
    (b"[playlist]", "a playlist (playlists are never followed)"),
    (b"<?xml", "an XML text (a manifest, an SVG picture or a web page)"),
    (b"<MPD", "a manifest (manifests are never followed)"),
    (b"<svg", "an SVG picture"),
    (b"<!DOCTYPE", "a web page"),
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"ID3", "an audio file"),
    (b"fLaC", "an audio file"),
    (b"MThd", "an audio file"),
    (b"#!AMR", "an audio file"),
    (b"MPCK", "an audio file"),
    (b"MP+", "an audio file"),
    (b"wvpk", "an audio file"),
    (b"FORM", "an IFF file (sound or a picture)"),
)

_CONVERTED: tuple[tuple[int, bytes, str], ...] = (
    (0, b".RMF", "a RealMedia file"),
    (0, b"BIK", "a Bink video"),
    (0, b"KB2", "a Bink 2 video"),
    (0, b"SMK2", "a Smacker video"),
    (0, b"SMK4", "a Smacker video"),
    (0, b"FWS", "a Flash animation (SWF)"),
    (0, b"CWS", "a Flash animation (SWF)"),
    (0, b"ZWS", "a Flash animation (SWF)"),
    (0, b"NSVf", "a Nullsoft video (NSV)"),
    (0, b"NSVs", "a Nullsoft video (NSV)"),
    (0, b"\xb7\xd8\x00\x20\x37\x49\xda\x11", "a Windows TV recording (WTV)"),
    (0, b"\xf5\x46\x7a\xbd", "a TiVo recording"),
    (0, b"\x00\x00\x00\x00\x00\xbc", "a GXF file"),
    (0, b"BBCD", "a raw Dirac stream"),
    (0, b"NuppelVideo", "a NuppelVideo recording"),
    (0, b"MythTVVideo", "a MythTV recording"),
    (0, b"IMKH", "a Hikvision recording"),
    (0, b"CI\x2c\x00", "a Phantom Cine recording"),
    (0, b"MLVI", "a Magic Lantern raw recording"),
    (4, b"\x11\xaf", "a FLIC animation"),
    (4, b"\x12\xaf", "a FLIC animation"),
)

_MAKERS: tuple[tuple[int, bytes, str, str], ...] = (
    (4, b"RED1", "a RED camera's raw recording (R3D)", "REDCINE-X PRO"),
    (4, b"RED2", "a RED camera's raw recording (R3D)", "REDCINE-X PRO"),
)
"""Kinds that only the camera maker's software reads: offset, bytes, name, software."""


def demuxers(head: bytes) -> str:
    """Return the demuxers that may open a file with these first bytes, as FFmpeg lists them.

    FFmpeg believes in a file's name where its bytes say nothing, so a text named ``a.h264`` would pass for
    a bare stream: those are allowed only where the first bytes are those of one.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return MOTION_JPEG
    if head.startswith(_RAW_STARTS):
        return f"{CONTAINERS},{','.join(RAW)}"
    if head.startswith(_DV_STARTS):
        return f"{CONTAINERS},dv"
    return CONTAINERS


def refusal(head: bytes) -> tuple[str, str] | None:
    """Return (what is wrong with the file, what to do) for a kind that is known and not read; otherwise None.

    Args:
        head: the first bytes of the file, 64 are enough.
    """
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, kind in _NOT_VIDEOS:
        if text.startswith(magic):
            return f"is {kind}, not a video", f"Give a video: {READ} are read."
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "is an audio file, not a video", f"Give a video: {READ} are read."
    for offset, magic, kind, software in _MAKERS:
        if head[offset:].startswith(magic):
            return f"is {kind}, which is not read", f"Export it as MP4 with {software}, then give the MP4."
    for offset, magic, kind in _CONVERTED:
        if head[offset:].startswith(magic):
            return f"is {kind}, which is not read", how_to_convert()
    return None


def how_to_convert() -> str:
    """Return the hint with the command that makes an MP4 of what FFmpeg reads and we do not."""
    return "Convert it first: ffmpeg -i INPUT -c:v libx264 -crf 18 -c:a aac output.mp4"
