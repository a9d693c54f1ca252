"""Comparisons of results of one shot: a column for each, the best marked, and the source as identity."""

from __future__ import annotations

import re
from typing import Any

import pytest

from seqhdr.quality.page import Pictures, render_compare
from tests.quality.page_reader import read
from tests.quality.report_example import example_pictures, example_report


def comparison() -> list[dict[str, Any]]:
    ours, other, third = (example_report(60, truth=True, name=name) for name in ("ours", "other", "third"))
    other["flicker"]["flicker_stops"] = 0.0001
    third["flicker"]["flicker_stops"] = None
    other["banding"]["levels"] = 5
    other["accuracy"]["rows"][0]["result"] = 58.0
    third["accuracy"] = None
    return [ours, other, third]


def test_comparisons_have_a_column_for_each_result_and_identity_and_mark_the_best() -> None:
    html = render_compare(comparison(), example_pictures())
    reader = read(html)
    table = html[html.index('<table class="numbers compare">') :]
    table = table[: table.index("</table>")]
    assert re.findall(r'<th scope="col">(.*?)</th>', table) == ["ours", "other", "third", "identity"]
    rows = {}
    for row in re.findall(r"<tr>(.*?)</tr>", table, re.S)[1:]:
        cells = re.findall(r'<td( class="best")?>(.*?)</td>', row)
        rows[re.findall(r">([^<]*)</th>", row)[0]] = cells
    best = {label: [bool(mark) for mark, _ in cells] for label, cells in rows.items()}
    assert best["Flicker along the motion"] == [False, True, False, False]
    assert rows["Flicker along the motion"][2][1] == "–"
    assert best["Levels in smooth regions"] == [True, False, True, False]
    assert best["To the truth: whole"] == [True, False, False, False]
    assert best["To the truth: PU21-PSNR"] == [False, False, False, True]
    # Neither more nor less light is better.
    assert not any(best["Most light"])
    assert all(f'class="series other{i}"' in html for i in (1, 2, 3))
    assert 'class="series source"' in html
    assert "3 results of one shot" in reader.text


def test_the_source_as_one_of_the_results_is_identity_and_stands_there_once() -> None:
    ours, source = comparison()[:2]
    html = render_compare([ours, source | {"name": "plates/shot", "is_source": True}], Pictures())
    reader = read(html)
    table = html[html.index('<table class="numbers compare">') :]
    assert re.findall(r'<th scope="col">(.*?)</th>', table) == ["ours", '<span title="plates/shot">identity</span>']
    assert "1 result of one shot" in reader.text
    plot = html[html.index('aria-labelledby="plot-flicker-title') :]
    plot = plot[: plot.index("</figure>")]
    assert re.findall(r'class="series (\w+)" d="[^"]*" \S+ data-label="(\w+)"', plot) == [
        ("source", "identity"),
        ("other1", "ours"),
    ]
    results = re.sub(r"\s+", " ", reader.text[reader.text.index("of one shot") : reader.text.index("Side by side")])
    assert results.count("identity the source as it is") == 1
    assert results.count("Look at it") == 1  # identity is not on trial


def test_long_names_are_shortened_and_told_in_full() -> None:
    names = [f"{folder}/a_long_name_of_a_shot_{folder}_that_goes_on_acescct" for folder in ("plain", "dithered")]
    html = render_compare([example_report(24, name=name) for name in names], Pictures())
    reader = read(html)
    heads = re.findall(r'<th scope="col"><span title="(.*?)">(.*?)</span></th>', html)
    assert [full for full, _ in heads] == names
    assert [short for _, short in heads] == ["plain/a_long_n…es_on_acescct", "dithered/a_lon…es_on_acescct"]
    keys = re.findall(r'<span class="key other\d">(.*?)</span>', html)
    assert keys[:2] == [short for _, short in heads]
    assert [title for title in reader.of("title") if title in names] == names * 2


def test_the_best_are_those_that_read_best() -> None:
    reports = [example_report(24, name=name) for name in "abc"]
    for report, jitter, excess, furthest in zip(
        reports, (1e-5, 2e-5, 3e-5), (-0.001, -0.0011, 0.001), (-0.5, 0.2, 0.4), strict=True
    ):
        report["flicker"] |= {"exposure_jitter_stops": jitter, "excess_flicker_stops": excess}
        report["flicker"]["source_exposure_jitter_stops"] = None
        report["fidelity"]["worst_lsb"] = furthest
    html = render_compare(reports, Pictures())
    cells = {
        re.findall(r">([^<]*)</th>", row)[0]: re.findall(r'<td( class="best")?>([^<]*)', row)
        for row in re.findall(r"<tr>(<th scope=\"row.*?)</tr>", html, re.S)
    }
    assert [bool(mark) for mark, _ in cells["Exposure jitter"]] == [False] * 4
    assert [text for _, text in cells["Exposure jitter"]][:3] == ["0.0000"] * 3
    assert cells["Flicker, beside the source&#39;s"][:3] == [
        ("", "0.001\u202fstop less"),
        (' class="best"', "0.0011\u202fstop less"),
        ("", "0.001\u202fstop more"),
    ]
    assert [(bool(mark), text) for mark, text in cells["Furthest from its code, in codes"]][:3] == [
        (False, "0.5"),
        (True, "0.2"),
        (False, "0.4"),
    ]


def test_a_comparison_without_a_source_has_no_identity() -> None:
    html = render_compare([example_report(24, source=False, name=n) for n in "ab"], Pictures())
    read(html)
    assert "identity" not in html


def test_results_may_cover_different_frames() -> None:
    read(render_compare([example_report(24, name="a"), example_report(60, name="b")], Pictures()))
    with pytest.raises(ValueError, match="got no reports"):
        render_compare([], Pictures())
