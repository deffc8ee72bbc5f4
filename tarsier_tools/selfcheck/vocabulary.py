"""The words of the shapes world in three scripts: tables only, each in the order of the world's tuples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Language = Literal["en", "zh-Hans", "zh-Hant"]
LANGUAGES: tuple[Language, ...] = get_args(Language)


@dataclass(frozen=True)
class Words:
    """The words of one language, each table in the order of the world's tuples."""

    colors: tuple[str, ...]
    shapes: tuple[str, ...]
    actions: tuple[str, ...]
    """As said of somebody: "moves left"."""
    acts: tuple[str, ...]
    """As asked about: "move left"."""
    object: str
    still: str
    nothing: str
    then: str
    stop: str
    yes: str
    no: str
    numbers: tuple[str, ...]


WORDS: dict[Language, Words] = {
    "en": Words(
        colors=("red", "green", "blue", "yellow", "white"),
        shapes=("circle", "square", "triangle", "star"),
        actions=(
            "moves left",
            "moves right",
            "moves up",
            "moves down",
            "grows",
            "shrinks",
            "appears",
            "disappears",
        ),
        acts=("move left", "move right", "move up", "move down", "grow", "shrink", "appear", "disappear"),
        object="{color} {shape}",
        still="stays still",
        nothing="Nothing happens.",
        then=", then ",
        stop=".",
        yes="Yes",
        no="No",
        numbers=("None.", "One.", "Two.", "Three."),
    ),
    "zh-Hans": Words(
        colors=("红色", "绿色", "蓝色", "黄色", "白色"),
        shapes=("圆形", "方形", "三角形", "星形"),
        actions=("向左移动", "向右移动", "向上移动", "向下移动", "变大", "变小", "出现", "消失"),
        acts=("向左移动", "向右移动", "向上移动", "向下移动", "变大", "变小", "出现", "消失"),
        object="{color}{shape}",
        still="保持不动",
        nothing="什么也没有发生。",
        then="，然后",
        stop="。",
        yes="是",
        no="否",
        numbers=("零个。", "一个。", "两个。", "三个。"),
    ),
    "zh-Hant": Words(
        colors=("紅色", "綠色", "藍色", "黃色", "白色"),
        shapes=("圓形", "方形", "三角形", "星形"),
        actions=("向左移動", "向右移動", "向上移動", "向下移動", "變大", "變小", "出現", "消失"),
        acts=("向左移動", "向右移動", "向上移動", "向下移動", "變大", "變小", "出現", "消失"),
        object="{color}{shape}",
        still="保持不動",
        nothing="什麼也沒有發生。",
        then="，然後",
        stop="。",
        yes="是",
        no="否",
        numbers=("零個。", "一個。", "兩個。", "三個。"),
    ),
}

ASK: dict[Language, dict[str, tuple[str, ...]]] = {
    "en": {
        "action": ("What does the {object} do?",),
        "object": ("Which shape {action}?", "What {action}?"),
        "color": ("What color is the shape that {action}?", "What color is the {shape} that {action}?"),
        "first": ("What happens first?",),
        "last": ("What happens last?",),
        "count": ("How many events happen?",),
        "happens": ("What happens in the video?",),
        "is_color": ("Is there a {color} shape?", "Is anything {color}?"),
        "is_shape": ("Is there a {shape}?",),
        "is_object": ("Is there a {object}?",),
        "does_any": ("Does anything {act}?",),
        "does": ("Does the {object} {act}?",),
    },
    "zh-Hans": {
        "action": ("{object}做了什么？",),
        "object": ("哪个图形{action}？", "什么{action}？"),
        "color": ("{action}的图形是什么颜色？", "{action}的{shape}是什么颜色？"),
        "first": ("首先发生了什么？",),
        "last": ("最后发生了什么？",),
        "count": ("发生了几个事件？",),
        "happens": ("视频中发生了什么？",),
        "is_color": ("有{color}的图形吗？", "有{color}的东西吗？"),
        "is_shape": ("有{shape}吗？",),
        "is_object": ("有{object}吗？",),
        "does_any": ("有图形{act}吗？",),
        "does": ("{object}{act}了吗？",),
    },
    "zh-Hant": {
        "action": ("{object}做了什麼？",),
        "object": ("哪個圖形{action}？", "什麼{action}？"),
        "color": ("{action}的圖形是什麼顏色？", "{action}的{shape}是什麼顏色？"),
        "first": ("首先發生了什麼？",),
        "last": ("最後發生了什麼？",),
        "count": ("發生了幾個事件？",),
        "happens": ("影片中發生了什麼？",),
        "is_color": ("有{color}的圖形嗎？", "有{color}的東西嗎？"),
        "is_shape": ("有{shape}嗎？",),
        "is_object": ("有{object}嗎？",),
        "does_any": ("有圖形{act}嗎？",),
        "does": ("{object}{act}了嗎？",),
    },
}
