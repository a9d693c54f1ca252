"""Plots: where points lie, what long shots keep, where curves break, and that labels stay text."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from markupsafe import Markup

from seqhdr.quality.plots import Mark, Series, histogram, time_plot
from seqhdr.quality.readable import amount, difference, number, percent, quantity, quantity_html, shortened
from seqhdr.quality.svg import nice_ticks


def plot(values: list[float | None], frames: list[int] | None = None, **more: object) -> Markup:
    numbers = list(range(1, len(values) + 1)) if frames is None else frames
    given: dict[str, object] = {"name": "p", "title": "t", "unit": "stop"} | more
    return time_plot([Series("result", values)], numbers, **given)  # type: ignore[arg-type]


def runs(svg: str, role: str = "result") -> list[list[tuple[float, float]]]:
    """The points of each unbroken piece of a curve."""
    found = re.search(rf'<path class="series {role}" d="([^"]*)"', svg)
    assert found
    pieces = found[1].replace("h.1", "").split("M")[1:]
    return [[(float(x), float(y)) for x, y in (point.split() for point in piece.split("L"))] for piece in pieces]


def test_points_lie_where_the_axis_says() -> None:
    # Up to 4 the axis ends at 4: y = height · (4 - v) / 4, x = 1000 · (frame - 1) / 4.
    (points,) = runs(plot([0, 1, 4, 2, 3], height_px=200))
    assert points == [(0, 200), (250, 150), (500, 0), (750, 100), (1000, 50)]


def test_an_axis_that_does_not_begin_at_zero() -> None:
    (points,) = runs(plot([60, 70, 65], from_zero=False, height_px=100))
    assert points == [(0, 100), (500, 0), (1000, 50)]


def test_the_axis_reaches_the_limit() -> None:
    (points,) = runs(plot([0.001, 0.001], at_least=0.01, height_px=100))
    assert points[0][1] == pytest.approx(90)


def test_frame_numbers_decide_where_a_point_lies() -> None:
    (first, second) = runs(plot([1, 1, 1, 1], frames=[1, 3, 5, 11]))  # every other frame, then a gap
    assert [x for x, _ in first] == [0, 200, 400]
    assert [x for x, _ in second] == [1000]


def test_curves_break_at_cuts_starts_and_where_nothing_was_measured() -> None:
    svg = plot([1.0] * 12, cuts=[4], starts=[1, 7])
    assert [len(run) for run in runs(svg)] == [3, 3, 6]
    assert [len(run) for run in runs(plot([1, 1, None, 1, float("nan"), 1, 1]))] == [2, 1, 2]


def test_a_lonely_point_is_drawn_as_a_dot() -> None:
    assert "h.1" in plot([1, 1, None, 1])
    assert "h.1" not in plot([1, 1, 1])


@pytest.mark.parametrize("frames", [3000, 20000])
def test_long_shots_keep_the_extremes_of_every_column(frames: int) -> None:
    rng = np.random.default_rng(3)
    values = rng.uniform(0.2, 0.6, frames)
    values[[frames // 7, frames // 2]] = 1.0, 0.0
    (points,) = runs(plot([float(v) for v in values], height_px=1000))
    assert len(points) <= 4 * 1001
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    columns = np.floor(1000 * np.arange(frames) / (frames - 1)).astype(int)
    xs, ys = np.array(points).T
    kept = np.minimum(np.floor(xs + 1e-9), 1000).astype(int)
    for column in range(0, 1000, 37):
        expected = 1000 * (1 - values[columns == column])
        # Written with one decimal, a point may appear in the column beside its own.
        near = ys[(kept >= column) & (kept <= column + 1)]
        assert near.min() <= expected.min() + 0.01
        assert near.max() >= expected.max() - 0.01
    assert ys.min() == 0
    assert ys.max() == 1000


def test_short_shots_keep_every_point() -> None:
    (points,) = runs(plot([float(i % 7) for i in range(1000)]))
    assert len(points) == 1000


def test_marks_are_links_in_the_order_of_time_that_sit_on_the_curve() -> None:
    svg = plot([0, 4, 0, 2, 0], marks=[Mark(4, "b", strong=False), Mark(2, "a"), Mark(99, "gone")], height_px=100)
    links = re.findall(r'<a class="mark([^"]*)" href="#frame-(\d+)" data-frame="(\d+)" aria-label="([^"]*)"', svg)
    assert links == [("", "2", "2", "Frame 2: a"), (" weak", "4", "4", "Frame 4: b")]
    assert re.findall(r'class="dot" cx="([\d.]+)%" cy="([\d.]+)"', svg) == [("25.00", "0.00"), ("75.00", "50.00")]


def test_labels_of_marks_do_not_touch_and_the_larger_one_stays() -> None:
    values = [0.0] * 101
    values[50], values[52] = 1.0, 2.0
    svg = plot(list(values), marks=[Mark(51, "a"), Mark(53, "b"), Mark(90, "c")])
    marks = svg.split("<a ")[1:]
    assert ["<text" in mark.split("</a>")[0] for mark in marks] == [False, True, True]


def test_failing_frames_are_drawn_below_the_axis_even_one_of_many() -> None:
    svg = plot([1.0] * 5001, failing=[2501, 99999], height_px=100)
    found = re.findall(r'class="failing" d="M([\d.]+) 100H([\d.]+)"', svg)
    assert found == [("499.0", "501.0")]


def test_cuts_are_lines_with_labels_unless_there_are_many() -> None:
    few, many = plot([1.0] * 30, cuts=[11, 21]), plot([1.0] * 30, cuts=list(range(3, 30, 3)))
    assert "cut 11" in few
    assert few.count('<line class="cut"') == 2
    assert ">cut " not in many
    assert many.count('<line class="cut"') == 9


def test_zero_all_over_is_said_rather_than_drawn() -> None:
    assert plot([0.0, None, 0.0]) == '<p class="nothing">0\u202fstop in every frame.</p>'
    assert "<svg" in plot([0.0, 0.0, 1e-9])
    assert "<svg" in time_plot([Series("a", [0, 0]), Series("b", [0, 1])], [1, 2], name="p", title="t", unit="share")


def test_marks_without_a_value_are_left_out() -> None:
    svg = plot([1.0, None, 2.0], marks=[Mark(1, "a"), Mark(2, "b")])
    assert re.findall(r'data-frame="(\d+)"', svg) == ["1"]


def test_a_script_can_read_out_every_value_as_it_is_written_elsewhere() -> None:
    svg = time_plot(
        [Series("a", [0.00004, None, 0.1234, 1.5]), Series("b", [0.5, 0.25, 0, 1], "source")],
        [-2, -1, 5, 6],
        name="p",
        title="t",
        unit="stop",
    )
    assert 'data-frames="-2:2 5:2" data-unit="stop"' in svg
    # The first curve is drawn last, on top.
    assert re.findall(r'data-label="(.*?)" data-values="(.*?)"', svg) == [
        ("b", "0.5|0.25|0|1"),
        ("a", "0.0000||0.123|1.5"),
    ]
    assert "<title>a from 0.0000\u202fstop to 1.5\u202fstop</title>" in svg
    assert 'data-frames="1:2" data-unit="%"' in plot([1, 2], unit="share")


def test_nothing_to_plot_is_said() -> None:
    assert "single frame" in plot([1.0])
    assert "single frame" in plot([])
    assert "Not measured" in plot([None, None])
    assert "Not measured" in histogram([0, 1], [Series("result", [])], name="h", title="t", unit="stop")


def test_a_wrong_number_of_values_is_a_bug() -> None:
    with pytest.raises(ValueError, match="got 2 values of 'result': expected 3"):
        plot([1, 2], frames=[1, 2, 3])
    with pytest.raises(ValueError, match="got 4 edges"):
        histogram([0, 1, 2, 3], [Series("result", [0.5, 0.5])], name="h", title="t", unit="stop")


def test_plots_are_xml_with_a_title_and_a_description_and_labels_stay_text() -> None:
    bad = '"><script>alert(1)</script>'
    svg = time_plot(
        [Series(bad, [1, 2])], [1, 2], name="p", title=bad, unit=bad, marks=[Mark(1, bad)], cuts=[2], height_px=90
    )
    bars = histogram([0, 1], [Series(bad, [0.5, 0.5])], name="h", title=bad, unit=bad)
    for drawing in (svg, bars):
        tree = ElementTree.fromstring(drawing)
        assert tree[0].tag == "title"
        assert tree[0].text == bad
        assert tree[1].tag == "desc"
        assert bad in (tree[1].text or "")
        assert "<script" not in drawing
        assert tree.get("aria-labelledby") == f"{tree[0].get('id')} {tree[1].get('id')}"


def test_bars_are_as_high_as_their_shares() -> None:
    series = [Series("result", [0.5, 0.4, 0.1]), Series("source", [0, 0, 1.0], "source")]
    svg = histogram([0, 0.5, 1, None], series, name="h", title="t", unit="stop", height_px=200)
    found = re.findall(r'class="bar (\w+)" x="([\d.]+)%" y="([\d.]+)" width="([\d.]+)%" height="([\d.]+)"', svg)
    heights = [(role, float(height)) for role, *_, height in found]
    assert heights == [("result", 100), ("result", 80), ("result", 20), ("source", 0), ("source", 0), ("source", 200)]
    assert all(float(y) + float(height) == pytest.approx(200) for _, _, y, _, height in found)
    # The two bars of a bin stand side by side inside it.
    (_, x, _, width, _), (_, other, *_) = found[1], found[4]
    assert 100 / 3 < float(x) < float(x) + float(width) == pytest.approx(float(other), abs=0.02)
    assert float(other) + float(width) < 200 / 3
    assert "result: 40\u202f% in 0.5 to 1 stop" in svg
    assert "source: 100\u202f% in 1 and more stop" in svg


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.25, 0.5, 0.75, 1]),
        (0, 0.026, [0, 0.01, 0.02, 0.03]),
        (0, 0, [0, 0.25, 0.5, 0.75, 1]),
        (58.9, 65.6, [58, 60, 62, 64, 66]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high) == pytest.approx(ticks)


def test_ticks_hold_what_they_are_made_for() -> None:
    rng = np.random.default_rng(11)
    for low, size in zip(rng.normal(0, 5, 300), 10 ** rng.uniform(-6, 6, 300), strict=True):
        ticks = nice_ticks(low, low + size)
        assert ticks[0] <= low + 1e-6 * size
        assert ticks[-1] >= low + size - 1e-6 * size
        assert 2 <= len(ticks) <= 6


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "∞"),
        (0, "0"),
        (0.0004, "0.0004"),
        (0.000412, "0.00041"),
        (0.01234, "0.0123"),
        (-0.00213, "−0.00213"),
        (0.99982, "0.99982"),
        (1 - 1e-12, "0.9999999"),
        (1.0, "1"),
        (9.999, "10"),
        (123.4, "123"),
        (999.6, "1000"),
        (36864, "36\u202f864"),
        (65504.3, "65\u202f504"),
        (1e-9, "<\u202f0.000001"),
    ],
)
def test_numbers_are_written_as_people_write_them(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (1.0, "100"),
        (0.99998, "99.998"),
        (0.9999872, "99.998"),
        (0.9999, "99.99"),
        (0.996, "99.6"),
        (0.9951, "99.51"),
        (1 - 1e-12, "99.999"),
        (0.01234567, "1.23"),
        (0.00123456, "0.123"),
        (0.995, "99.5"),
        (0.413, "41.3"),
        (0.0004, "0.04"),
        (1e-10, "<\u202f0.001"),
        (0.0000123, "0.001"),
        (0.0, "0"),
    ],
)
def test_only_all_is_100_per_cent_and_only_nothing_is_0(share: float, text: str) -> None:
    assert percent(share) == f"{text}\u202f%"
    assert amount(share, "share") == text


def test_no_share_below_one_reads_more_than_it_is() -> None:
    for share in 1 - 10 ** np.random.default_rng(2).uniform(-9, -2, 500):
        text = percent(float(share))
        assert float(text.removesuffix("\u202f%")) <= 100 * share + 1e-6 or share > 1 - 1e-5
        assert text != "100\u202f%"


def test_units() -> None:
    assert quantity(0.0004, "stop") == "0.0004\u202fstop"
    assert quantity(65.081, "dB") == "65.08\u202fdB"
    assert quantity(0.25, "share") == "25\u202f%"
    assert quantity(0.25, "index") == "0.25"
    assert quantity(0.0000081, "stop") == "0.0000\u202fstop"
    assert quantity(-0.00004, "stop") == "0.0000\u202fstop"
    assert quantity(0.0, "stop") == "0\u202fstop"
    assert quantity(0.00165499, "stop") == "0.0017\u202fstop"
    assert quantity(0.12345, "stop") == "0.123\u202fstop"
    assert quantity(0.123496, "stop") == "0.123\u202fstop"  # rounded once
    assert quantity(0.0123, "px") == "0.012\u202fpx"
    assert quantity(0.0004, "px") == "0.000\u202fpx"
    assert quantity(float("inf"), "stop") == "∞\u202fstop"
    assert quantity(None, "stop") == "–"
    assert quantity_html(2, "<b>") == '2<span class="unit">\u202f&lt;b&gt;</span>'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-0.00172, "0.0017\u202fstop less"),
        (0.00172, "0.0017\u202fstop more"),
        (0.0, "the same"),
        (-0.00001, "the same"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_differences_are_said_without_a_sign(value: float | None, text: str) -> None:
    assert difference(value, "stop") == text


def test_names_lose_their_middles_but_never_what_tells_them_apart() -> None:
    assert shortened(["short", "a_rather_long_name_indeed"], 12) == ["short", "a_rath…ndeed"]
    assert shortened(["abcdef"], 6) == ["abcdef"]
    assert shortened([], 5) == []
    # Only the fifth letter differs.
    assert shortened([f"aaaa{i}{'b' * 20}" for i in range(2)], 8) == ["aaaa0…bbbb", "aaaa1…bbbb"]
    # Here it is the middle one: nothing shorter will do.
    alike = [f"{'a' * 20}{i}{'b' * 20}" for i in range(3)]
    assert shortened(alike, 8) == alike
    assert shortened([alike[0], alike[0]], 8) == ["aaaa…bbb"] * 2
