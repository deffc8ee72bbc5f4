"""What is decoded for which frames, on synthetic tables of packets."""

from __future__ import annotations

import pytest

from tarsier_tools.media.packets import PacketList, PacketTable

GROUP = [0, 3, 1, 2, 6, 4, 5]
"""Presentation times of a closed group in the order of the file: a key picture, then P B B twice."""


def table(
    times: list[int | None],
    keys: list[int],
    *,
    hidden: tuple[int, ...] = (),
    dts: list[int | None] | None = None,
    in_order: bool = False,
    duration: int = 1,
) -> PacketTable:
    packets = PacketList()
    for number, time in enumerate(times):
        packets.pts.append(time)
        packets.dts.append(dts[number] if dts else None)
        packets.duration.append(duration)
        packets.key.append(number in keys)
        packets.shown.append(number not in hidden)
        packets.corrupt.append(False)
        packets.position.append(number * 100)
    return packets.table(second=30, in_order=in_order)


def groups(count: int) -> PacketTable:
    return table(
        [time + 7 * group for group in range(count) for time in GROUP], [7 * g for g in range(count)]
    )


def runs(packets: PacketTable, wanted: list[int], lead: int = 0) -> list[tuple[int, int, list[int]]]:
    return [(run.start, run.end, run.frames) for run in packets.plan(wanted, lead=lead)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([0], [(0, 0, [0])]),
        ([2], [(0, 3, [2])]),
        ([3], [(0, 1, [3])]),
        ([1, 3], [(0, 2, [1, 3])]),
        ([2, 8], [(0, 3, [2]), (7, 9, [8])]),
        ([6, 7], [(0, 4, [6]), (7, 7, [7])]),
        ([20], [(14, 20, [20])]),
        (
            list(range(21)),
            [(0, 6, list(range(7))), (7, 13, list(range(7, 14))), (14, 20, list(range(14, 21)))],
        ),
    ],
)
def test_only_what_the_wanted_frames_need_is_decoded(
    wanted: list[int], expected: list[tuple[int, int, list[int]]]
) -> None:
    packets = groups(3)
    got = runs(packets, wanted)
    assert [frames for _, _, frames in got] == [frames for _, _, frames in expected]
    for (start, end, frames), (expected_start, _, _) in zip(got, expected, strict=True):
        assert start == expected_start
        assert end == max(int(packets.packet_of[frame]) for frame in frames)


def test_frames_that_lead_an_open_group_are_decoded_from_the_group_before() -> None:
    packets = table([0, 1, 2, 6, 4, 5, 7], keys=[0, 3])
    assert packets.has_open_groups()
    assert runs(packets, [3]) == [(0, 4, [3])]  # time 4, stored after the key picture of time 6
    assert runs(packets, [5]) == [(3, 3, [5])]
    assert not groups(2).has_open_groups()


def test_a_lead_starts_one_key_packet_earlier_and_never_before_the_file() -> None:
    assert runs(groups(3), [15], lead=1) == [(7, 16, [15])]
    assert runs(groups(3), [1], lead=1) == [(0, 2, [1])]


def test_a_file_without_key_packets_is_decoded_from_its_start() -> None:
    packets = table([0, 1, 2, 3], keys=[])
    assert runs(packets, [3]) == [(0, 3, [3])]
    assert packets.next_key_time(0) is None
    assert not packets.has_open_groups()


def test_hidden_packets_are_not_numbered_but_can_be_started_from() -> None:
    packets = table([-3, -2, -1, 0, 1], keys=[0], hidden=(0, 1, 2))
    assert packets.frame_count == 2
    assert runs(packets, [0]) == [(0, 3, [0])]
    assert packets.frame_of.tolist() == [-1, -1, -1, 0, 1]


def test_a_clock_that_starts_again_goes_on_where_it_stopped() -> None:
    times: list[int | None] = [100, 101, 102, 0, 1, 2]
    assert table(times, keys=[0, 3], dts=list(times)).time == [100, 101, 102, 103, 104, 105]


def test_a_small_step_back_of_the_clock_is_left_alone() -> None:
    assert table([5, 6, 4], keys=[0], dts=[5, 6, 4]).time == [5, 6, 4]


def test_packets_before_the_first_time_are_counted_back_from_it() -> None:
    packets = table([None, None, 10, 12, 14], keys=[0], in_order=True, duration=2)
    assert packets.time == [6, 8, 10, 12, 14]
    assert runs(packets, [1, 4]) == [(0, 4, [1, 4])]


def test_times_of_reordered_pictures_in_order_of_the_file_are_only_a_set() -> None:
    assert table([0, 3, 1, 2], keys=[0], in_order=True).time == [0, 1, 2, 3]
