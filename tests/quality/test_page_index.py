"""The index of several reports, and names that stay text there and on every other page."""

from __future__ import annotations

import copy
import re

import pytest

from seqhdr.quality.page import Pictures, WorstPicture, render_compare, render_index, render_report
from tests.quality.page_reader import read
from tests.quality.report_example import example_report

HOSTILE = [
    "<script>alert(1)</script>",
    "../x",
    '"><img src=x onerror=1>',
    "'></script><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "</title></style>\u2028&amp;",
]


@pytest.mark.parametrize("bad", HOSTILE)
def test_names_stay_text_wherever_they_come_from(bad: str) -> None:
    report = example_report(24, truth=True, name=bad)
    for section, key in (
        ("result", "made_by"),
        ("result", "encoding"),
        ("source", "bins_reason"),
        ("source", "pattern"),
    ):
        report[section][key] = bad
    report["truth"]["pattern"] = report["measured"]["flow"] = bad
    report["verdict"]["sentence"] = bad
    report["summary"] = [bad] * 5
    for check in report["verdict"]["checks"]:
        check |= {"label": bad, "unit": bad, "name": bad}
    for worst in report["worst"]:
        worst |= {"why": bad, "unit": bad}
    report["accuracy"]["rows"][0] |= {"label": bad, "unit": bad}
    report["accuracy"]["tone_curve"] = bad
    pictures = Pictures(worst=(WorstPicture(1012, bad, b"x", b"y", bad),), maps=((bad, b"z"),))
    harmless = copy.deepcopy(report) | {"name": "x" * len(bad)}

    for html, tags in (
        (render_report(report, pictures), render_report(harmless, pictures)),
        (render_compare([report, report], pictures), render_compare([harmless, harmless], pictures)),
        (render_index([report], [bad], [None]), render_index([harmless], ["x.html"], [None])),
    ):
        reader = read(html)
        assert bad in reader.text or bad in reader.of("title")
        assert [tag for tag, _ in reader.tags] == [tag for tag, _ in read(tags).tags]
        assert not {"svg", "img"} & {t for t, a in reader.tags if "onload" in a or "onerror" in a}
        assert len(reader.scripts) == len(read(tags).scripts)


@pytest.mark.parametrize(
    ("path", "href"),
    [
        ("javascript:alert(1)", "./javascript%3Aalert%281%29"),
        ("../x/report.html", "./../x/report.html"),
        ('a"b #1?.html', "./a%22b%20%231%3F.html"),
        ("100%.html", "./100%25.html"),
        ("sub\\shot.html", "./sub/shot.html"),
    ],
)
def test_links_of_the_index_are_file_names_and_nothing_else(path: str, href: str) -> None:
    reader = read(render_index([example_report(24)], [path], [None]))
    assert href in reader.of("href")
    assert f"{href}#frame-1012" in reader.of("href")


def test_the_index_begins_with_what_flickers_most() -> None:
    reports, names = [], ("nan", "calm", "wild", "unknown", "alone")
    numbers = ((None, float("nan")), (0.001, 0.5), (0.02, 0.01), (None, None), (None, 0.004))
    for name, (excess, flicker) in zip(names, numbers, strict=True):
        report = example_report(24, name=name)
        report["flicker"] |= {"excess_flicker_stops": excess, "flicker_stops": flicker}
        reports.append(report)
    html = render_index(reports, [f"{name}.html" for name in names], [b"jpeg", None, None, None, None])
    found = re.findall(r'<a href="\./(\w+)\.html">', html)
    assert found == ["wild", "alone", "calm", "nan", "unknown"]
    reader = read(html)
    assert "5 to look at" in reader.text
    assert len(reader.of("src")) == 1


def test_an_index_needs_as_many_paths_as_reports() -> None:
    with pytest.raises(ValueError, match="got 1 reports, 2 paths, 1 pictures"):
        render_index([example_report(2)], ["a", "b"], [None])
