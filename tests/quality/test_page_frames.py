"""Frames on a page: cuts and limits on plots, rows of the table, pictures, and links between them."""

from __future__ import annotations

import re

from seqhdr.quality.page import Pictures, WorstPicture, render_report
from tests.quality.page_reader import read
from tests.quality.report_example import example_pictures, example_report


def test_cuts_worst_frames_and_failing_frames_are_on_the_plot() -> None:
    html = render_report(example_report(), example_pictures())
    main = html[html.index('aria-labelledby="plot-flicker-title') :]
    main = main[: main.index("</figure>")]
    assert re.findall(r'class="mark( \w+)?" href="#frame-(\d+)"', main) == [
        (" over", "1012"),
        (" over", "1013"),
        (" weak", "1130"),
        (" weak", "1200"),
    ]
    assert main.count('<line class="cut"') == 2
    assert 'class="failing"' in main
    jitter = html[html.index('aria-labelledby="plot-jitter-title') :]
    assert re.findall(r'class="mark( weak)?" href="#frame-(\d+)"', jitter[: jitter.index("</figure>")]) == [
        ("", "1130")
    ]


def test_a_single_frame_has_no_time_plots_and_says_so() -> None:
    html = render_report(example_report(1), Pictures())
    assert html.count("A single frame: there is nothing to plot over time.") >= 3
    assert 'class="curves"' not in html


def test_plots_that_are_zero_all_over_are_a_sentence_and_come_last() -> None:
    report = example_report(24)
    for frame in report["frames"]:
        frame["clipped_share"] = 0.0
    html = render_report(report, Pictures())
    titles = re.findall(r'<figure class="plot ( flat)?">\s*<figcaption>\s*<span class="what">([^<]*)', html)
    assert titles[-1] == (" flat", "Clipped channels of the source")
    assert sum(bool(flat) for flat, _ in titles) == 1
    assert "0\u202f% in every frame." in html


def test_long_shots_list_some_frames_and_say_so_but_keep_those_that_are_named() -> None:
    report = example_report(3000)
    reader = read(render_report(report, Pictures()))
    rows = [i for i in reader.of("id") if i.startswith("frame-")]
    assert 370 < len(rows) < 430
    assert {"frame-1012", "frame-1130", "frame-1200", *(f"frame-{cut}" for cut in report["cuts"])} <= set(rows)
    assert "1 frame of 8 and those named above; all 3000 are in the JSON." in reader.text


def test_short_shots_list_every_frame() -> None:
    reader = read(render_report(example_report(240), Pictures()))
    assert len([i for i in reader.of("id") if i.startswith("frame-")]) == 240
    assert "in the JSON" not in reader.text


def test_worst_frames_are_where_their_links_lead() -> None:
    html = render_report(example_report(), example_pictures())
    reader = read(html)
    figures = [a["id"] for tag, a in reader.tags if tag == "figure" and "id" in a]
    assert figures == ["frame-1012", "frame-1013"]
    assert html.count("<tr") - html.count('<tr id="frame-') > 2
    assert '<tr id="frame-1012"' not in html


def test_a_frame_that_is_worst_twice_has_one_id() -> None:
    pictures = example_pictures()
    twice = Pictures(worst=(*pictures.worst, WorstPicture(1012, "banding", b"x", None, "again")))
    read(render_report(example_report(), twice))


def test_frames_that_are_not_listed_are_no_links() -> None:
    report = example_report(24)
    report["verdict"]["checks"][0]["frames"] = [1012, 5000]
    html = render_report(report, Pictures())
    read(html)
    assert re.search(r'data-frame="1012">1012</a> 5000', html)


def test_frames_with_a_map_come_before_those_without() -> None:
    first, second = example_pictures().worst
    alone = WorstPicture(1130, "highlights", b"x", None, "highlights extended by up to 1.50 stops")
    html = render_report(example_report(), Pictures(worst=(first, alone, second)))
    assert re.findall(r'<figure class="(\w+)" id="frame-(\d+)"', html) == [
        ("double", "1012"),
        ("double", "1013"),
        ("single", "1130"),
    ]
    # What the caption says is not said twice.
    assert html.count("highlights extended") == 1
    assert "highlights <span>" not in html
