"""Reports in a real browser: nothing is loaded, nothing complains, and things are where they should be."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import report_kit as kit
from browser import Browser, find_browser

from tarsier_tools import ScriptedBackend, VideoService, write_report

CONTRAST = """
(() => {
  const parse = color => [...color.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
  const over = (top, base) => [0, 1, 2].map(i => top[i] * top[3] + base[i] * (1 - top[3])).concat(1);
  const linear = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = c => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
  const background = element => {
    if (!element) return [255, 255, 255, 1];
    const own = parse(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own : over(own, background(element.parentElement));
  };
  const worst = [];
  for (const element of document.querySelectorAll('body *')) {
    if (![...element.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    if (['title', 'desc', 'rect'].includes(element.localName)) continue;
    const style = getComputedStyle(element);
    const base = background(element);
    const text = over(parse(element.localName === 'text' ? style.fill : style.color), base);
    const [high, low] = [light(text), light(base)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) worst.push(`${element.outerHTML.slice(0, 80)}: ${ratio.toFixed(2)}`);
  }
  return worst;
})()
"""
"""Texts that contrast too little with what is behind them, by WCAG 2.2, success criterion 1.4.3 (AA)."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    binary = find_browser()
    if binary is None:
        pytest.skip("needs Chromium, for example Debian's package chromium-headless-shell")
    with Browser(binary, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(shapes_film, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One page of each kind about the same film."""
    video, folder = shapes_film.path, tmp_path_factory.mktemp("pages")
    results = {
        "caption": kit.checked_caption(video, warnings=("It was dark.",)),
        "plain": kit.plain_caption(video, "شكل أحمر يتحرك إلى اليسار.", language="ar"),
        "locate": (kit.localization(video), kit.localization(video, "النجمة تكبر", segments=())),
        "range": kit.localization(
            video, segments=((3.0, 4.0), (6.5, 7.0)), values=(0.2, 0.1, 0.8), start_s=3.0, end_s=7.0
        ),
        "timeline": kit.timeline(video),
    }
    with VideoService(backend=ScriptedBackend(())) as service:
        for name, result in results.items():
            write_report(result, service, folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in results}


KINDS = ("caption", "plain", "locate", "range", "timeline")
SCHEMES = pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])


@SCHEMES
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_loads_nothing_complains_of_nothing_and_can_be_read(kind, dark, pages, browser) -> None:
    browser.open(pages[kind], dark=dark)
    assert browser.problems == []
    assert browser.requests == []
    assert browser.run("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert browser.run("document.images.length") >= 2
    assert browser.run(CONTRAST) == []


@SCHEMES
def test_the_page_follows_the_scheme_of_the_reader(dark, pages, browser) -> None:
    browser.open(pages["locate"], dark=dark)
    red = browser.run("Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])")
    assert red < 60 if dark else red > 230


def shares(browser: Browser, selector: str) -> list[list[float]]:
    """Left and right edge of each element, as shares of the width of the drawing that it is in."""
    return browser.run(
        f"""[...document.querySelectorAll('{selector}')].map(element => {{
          const box = element.getBoundingClientRect();
          const plot = element.closest('.plot').getBoundingClientRect();
          return [(box.left - plot.left) / plot.width, (box.right - plot.left) / plot.width];
        }})"""
    )


@pytest.mark.parametrize("width", [360, 1000, 1900])
@pytest.mark.parametrize(
    ("kind", "selector", "start_s", "end_s", "stretches"),
    [
        ("locate", "#r1 rect.segment", 0, 8, [(1.5, 3.0), (5.0, 6.25)]),
        ("range", "rect.segment", 3, 7, [(3.0, 4.0), (6.5, 7.0)]),
        ("caption", ".bar", 0, 8, [(1, 3), (3, 5), (5, 7), (5, 7)]),
        ("timeline", "rect.chapter", 0, 8, [(0, 4), (4, 8)]),
    ],
)
def test_stretches_of_time_are_drawn_where_they_are(
    kind, selector, start_s, end_s, stretches, width, pages, browser
) -> None:
    browser.open(pages[kind], width=width)
    length = end_s - start_s
    expected = [[(left - start_s) / length, (right - start_s) / length] for left, right in stretches]
    drawn = shares(browser, selector)
    assert len(drawn) == len(expected)
    for one, other in zip(drawn, expected, strict=True):
        assert one == pytest.approx(other, abs=1.5 / (width - 100))  # a border is a pixel wide


def test_segments_of_a_timeline_tile_the_video(pages, browser) -> None:
    browser.open(pages["timeline"])
    edges = sorted(tuple(edge) for edge in shares(browser, ".bar.plain"))
    assert edges == [
        (pytest.approx(n / 8, abs=0.002), pytest.approx((n + 1) / 8, abs=0.002)) for n in range(8)
    ]


def test_the_curve_is_as_high_as_the_best_window_at_each_moment(pages, browser) -> None:
    browser.open(pages["locate"])
    places, level = browser.run(
        """(() => {
          const line = document.querySelector('#r1 .curve'), matrix = line.getScreenCTM();
          const plot = line.closest('.plot').getBoundingClientRect();
          const places = [...line.points].map(point => point.matrixTransform(matrix))
            .map(point => [(point.x - plot.left) / plot.width * 8, 1 - (point.y - plot.top) / 140]);
          const box = document.querySelector('#r1 .threshold').getBoundingClientRect();
          return [places, 1 - ((box.top + box.bottom) / 2 - plot.top) / 140];
        })()"""
    )
    # Windows of 2 s begin every second: 0.1, 0.3, 0.9, 0.4, 0.1, 0.7, 0.2.
    steps = [(0, 1, 0.1), (1, 2, 0.3), (2, 4, 0.9), (4, 5, 0.4), (5, 7, 0.7), (7, 8, 0.2)]
    expected = [(at, value) for start, end, value in steps for at in (start, end)]
    assert [tuple(place) for place in places] == [
        (pytest.approx(at, abs=0.02), pytest.approx(value, abs=0.01)) for at, value in expected
    ]
    assert level == pytest.approx(0.5, abs=0.01)


def test_labels_of_time_stand_below_their_moments(pages, browser) -> None:
    browser.open(pages["range"])
    labels = browser.run(
        """[...document.querySelectorAll('.times text')].map(text => {
          const plot = text.closest('.plot').getBoundingClientRect(), box = text.getBoundingClientRect();
          return [text.textContent, ((box.left + box.right) / 2 - plot.left) / plot.width];
        })"""
    )
    middle = dict(labels)
    assert middle["0:05.0"] == pytest.approx(0.5, abs=0.005)
    assert all(0 <= place <= 1 for place in middle.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_narrow_screen_need_not_be_scrolled_sideways(kind, pages, browser) -> None:
    browser.open(pages[kind], width=360)
    assert browser.run("document.documentElement.scrollWidth") <= 360


def test_text_from_right_to_left_runs_so_and_the_axis_of_time_does_not(pages, browser) -> None:
    browser.open(pages["plain"])
    assert browser.run("document.querySelector('.caption').matches(':dir(rtl)')")
    assert not browser.run("document.querySelector('dl').matches(':dir(rtl)')")
    browser.open(pages["locate"])
    assert browser.run("getComputedStyle(document.querySelector('#r2 .chart')).direction") == "ltr"
    assert browser.run("document.querySelector('#r2 h2 bdi').matches(':dir(rtl)')")


@pytest.mark.parametrize("kind", KINDS)
def test_who_cannot_see_it_is_told_the_same(kind, pages, browser) -> None:
    browser.open(pages[kind])
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    told = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if "role" in node and not node["ignored"]
    ]
    images = [name for role, name in told if role in {"image", "img"}]
    assert images
    assert all(images)
    levels = browser.run("[...document.querySelectorAll('h1,h2,h3')].map(h => Number(h.localName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
    assert browser.run("document.documentElement.lang") == "en"


def test_flags_are_told_in_words_and_not_by_colour_alone(pages, browser) -> None:
    browser.open(pages["caption"])
    assert "a dog barks (unsupported)" in browser.run(
        "document.querySelector('.caption').textContent.replace(/[✓?✗]\\d/g, '')"
    )
    styles = browser.run(
        "[...document.querySelectorAll('mark')].map(mark => getComputedStyle(mark).textDecorationStyle)"
    )
    assert styles == ["solid", "dashed", "wavy"]


def test_print_is_dark_on_white_whatever_the_screen_is(pages, browser) -> None:
    browser.open(pages["locate"], dark=True, media="print")
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run(CONTRAST) == []
    assert browser.run("getComputedStyle(document.querySelector('figure')).breakInside") == "avoid"


def test_even_a_script_that_got_into_the_page_would_not_run(pages, browser) -> None:
    browser.open(pages["plain"])
    browser.run(
        """(() => {
          const script = document.createElement('script');
          script.textContent = 'window.reached = true';
          document.body.append(script);
          const image = document.createElement('img');
          image.setAttribute('onerror', 'window.reached = true');
          image.src = 'https://example.invalid/x.png';
          document.body.append(image);
          return new Promise(done => setTimeout(done, 50));
        })()"""
    )
    assert browser.run("window.reached === undefined")
