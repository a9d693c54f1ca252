"""The pages as a browser reads them: whole HTML, nothing fetched, links that lead somewhere, names that stay text."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from seqhdr.quality.page import Pictures, WorstPicture, render_compare, render_index, render_report
from tests.quality.report_example import example_pictures, example_report, nothing_measured

VOID = {"meta", "link", "img", "input", "br", "hr"}
HOSTILE = [
    "<script>alert(1)</script>",
    "../x",
    '"><img src=x onerror=1>',
    "'></script><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "</title></style>\u2028&amp;",
]


class Reader(HTMLParser):
    """Keeps what tests ask for, and fails where a tag is not closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} has an attribute twice: {names}"
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()} closes another tag"

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts[-1] += data
        elif self.open[-1:] != ["style"]:
            self.text += data

    def of(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def read(html: str) -> Reader:
    """Parse a page and check what holds for every one."""
    assert html.lstrip().startswith("<!doctype html>")
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    ids = reader.of("id")
    assert len(ids) == len(set(ids))
    assert all(uri.startswith("data:image/") for uri in reader.of("src"))
    for href in reader.of("href"):
        assert href.startswith(("#", "./", "data:,")), href
        assert not href.startswith("#") or href[1:] in ids, f"{href} leads nowhere"
    for labels in [*reader.of("aria-labelledby"), *reader.of("for")]:
        assert set(labels.split()) <= set(ids)
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    styles = "".join(re.findall(r"<style>(.*?)</style>", html, re.S))
    assert "url(" not in styles
    assert "@import" not in styles
    without_viewer = re.sub(r"<script.*?</script>", "", html, flags=re.S)
    assert "http:" not in without_viewer
    assert "https:" not in without_viewer
    policy = next(a["content"] for t, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    hashes = (
        "'none'"
        if "<script>" not in html
        else " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
            for script in re.findall(r"<script>(.*?)</script>", html, re.S)
        )
    )
    wanted = f"default-src 'none'; style-src 'unsafe-inline'; script-src {hashes}; img-src data: blob:"
    assert policy.startswith(wanted)
    assert all(attributes.get("alt") is not None for tag, attributes in reader.tags if tag == "img")
    return reader


@pytest.mark.parametrize("frames", [1, 2, 24, 240])
@pytest.mark.parametrize(("source", "truth"), [(True, False), (False, False), (True, True), (False, True)])
@pytest.mark.parametrize("change", [dict, nothing_measured])
def test_every_kind_of_report_is_whole_html(
    frames: int, source: bool, truth: bool, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    report = change(example_report(frames, source, truth))
    reader = read(render_report(report, Pictures()))
    assert report["name"] in reader.text
    assert report["verdict"]["sentence"] in reader.text
    assert "None" not in reader.text
    assert "nan" not in reader.text.lower().replace("nan or infinite", "").replace("nan and infinite", "").replace(
        "no nan", ""
    )


def test_the_first_screen_says_what_counts() -> None:
    text = re.sub(r"\s+", " ", read(render_report(example_report(), example_pictures())).text)
    top = text[: text.index("Worst frames 1012 flicker")]
    assert "Look at it It flickers (frames 1012-1013)." in top
    assert re.search(
        r"Flicker 0\.0\d+ stop above the source, at worst ✗ beyond 0\.002 stop frames 1012 1013 "
        r"over all frames result0\.00\d+source0\.01\d+ Exposure jitter",
        top,
    )
    assert re.search(r"Exposure jitter 0 stop as in the source, at worst ✓ within 0\.002 stop", top)
    assert re.search(r"Pixels in visible bands 1\.\d+ % in the worst frame ✓ within 2 %", top)
    assert "✓ none allowed" in top
    assert "cut 1073" in top


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"value": -0.0009}, "0.0009 stop or more below the source ✓ within 0.002 stop"),
        ({"value": -0.000009}, "0.0000 stop as in the source, at worst ✓ within 0.002 stop"),
        ({"value": 0.0015}, "0.0015 stop above the source, at worst ✓ within 0.002 stop"),
        ({"value": 0.004}, "0.004 stop above the source, at worst ✓ within a tenth of the source's own"),
        ({"value": 0.004, "ok": False}, "0.004 stop above the source, at worst ✗ beyond 0.002 stop"),
        ({"value": 0.0015, "label": "Flicker"}, "0.0015 stop in the worst frame ✓ within 0.002 stop"),
        (
            {"name": "inside", "label": "In", "value": 1.0, "limit": 0.9, "unit": "share"},
            "100 % in the worst frame ✓ at least 90 %",
        ),
        (
            {"name": "inside", "label": "In", "value": 0.5, "limit": 0.9, "unit": "share", "ok": False},
            "50 % in the worst frame ✗ below 90 %",
        ),
        (
            {"name": "blind", "label": "Hidden", "value": 2, "limit": 0, "unit": "", "ok": False, "frames": [1002]},
            "Hidden 2 all clipped, or not a number ✗ none allowed frame 1002",
        ),
    ],
)
def test_checks_read_as_a_person_would_say_them(change: dict[str, Any], shown: str) -> None:
    report = example_report(24)
    check = {"name": "flicker", "label": "Flicker, over the source", "value": 0.0, "limit": 0.002, "unit": "stop"}
    report["verdict"]["checks"] = [check | {"ok": True, "frames": []} | change]
    assert shown in re.sub(r"\s+", " ", read(render_report(report, Pictures())).text)


def test_good_and_bad_and_unjudged_differ_in_words() -> None:
    report = example_report(24)
    for good, word in ((True, "Good"), (False, "Look at it"), (None, "Not judged")):
        report["verdict"]["good"] = good
        states = re.findall(r'<span class="state \w+">([^<]*)', render_report(report, Pictures()))
        assert states == [word]


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


def test_every_row_of_accuracy_has_identity_beside_it_and_the_better_one_is_marked() -> None:
    html = render_report(example_report(24, truth=True), Pictures())
    table = html[html.index("Accuracy, against the truth") :]
    rows = re.findall(r"<tr>(.*?)</tr>", table[: table.index("</table>")], re.S)
    cells = {re.sub("<[^>]*>", "", row.split("</th>")[0]): row.split("</th>")[1] for row in rows[1:]}

    def of(label: str) -> list[str]:
        found = re.findall(r"<td( class=\"best\")?>(.*?)</td>", cells[label])
        return [("*" if best else "") + re.sub("<[^>]*>", "", text) for best, text in found]

    assert of("whole") == ["*65.08\u202fdB (best)", "58.92\u202fdB", "+6.16"]
    assert of("clipped, log2 RMSE") == ["*2.22\u202fstop (best)", "3.19\u202fstop", "−0.973"]
    assert of("PU21-PSNR") == ["55.40\u202fdB", "*56.10\u202fdB (best)", "−0.70"]
    assert of("SSIM")[:2] == ["*0.99982 (best)", "0.9989"]
    assert "Reinhard 2002, L/(1+L), sRGB" in html
    assert html.count('<span class="key source">identity</span>') == 1  # the plot of PSNR


def test_without_a_truth_there_is_no_accuracy_table() -> None:
    assert "Accuracy" not in read(render_report(example_report(24), Pictures())).text


def test_a_single_frame_has_no_time_plots_and_says_so() -> None:
    html = render_report(example_report(1), Pictures())
    assert html.count("A single frame: there is nothing to plot over time.") >= 3
    assert 'class="curves"' not in html


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


def test_pages_stay_small() -> None:
    assert len(render_report(example_report(truth=True), Pictures()).encode()) < 300_000
    assert len(render_report(example_report(3000, truth=True), Pictures()).encode()) < 1_500_000


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


def test_what_was_not_measured_has_no_row_and_what_was_held_against_the_truth_says_so() -> None:
    text = read(render_report(example_report(24, source=False), Pictures())).text
    assert "Channels inside their bin" not in text
    assert "beside the source" not in text
    against_truth = example_report(24, source=False, truth=True)
    against_truth["flicker"]["excess_flicker_stops"] = 0.001
    for frame in against_truth["frames"]:
        frame["excess_flicker_stops"] = 0.001
    text = read(render_report(against_truth, Pictures())).text
    assert "Flicker, beside the truth's" in text
    assert "over the truth" in text
    assert "the source" not in text.replace("Clipped channels of the source", "").replace("from the source", "")


def test_motion_is_told_as_held_against_the_truth_where_there_is_one() -> None:
    for truth, against in ((True, "truth"), (False, "source")):
        report = example_report(24, truth=truth)
        for text in (
            read(render_report(report, Pictures())).text,
            read(render_compare([report, report | {"name": "other"}], Pictures())).text,
        ):
            assert f"tOF, flow of result against {against}" in text
            assert "Flicker, beside the source's" in text
        assert f"tOF, motion of the result against the {against}'s" in read(render_report(report, Pictures())).text


def test_plots_that_are_zero_all_over_are_a_sentence_and_come_last() -> None:
    report = example_report(24)
    for frame in report["frames"]:
        frame["clipped_share"] = 0.0
    html = render_report(report, Pictures())
    titles = re.findall(r'<figure class="plot ( flat)?">\s*<figcaption>\s*<span class="what">([^<]*)', html)
    assert titles[-1] == (" flat", "Clipped channels of the source")
    assert sum(bool(flat) for flat, _ in titles) == 1
    assert "0\u202f% in every frame." in html


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


def test_a_comparison_without_a_source_has_no_identity() -> None:
    html = render_compare([example_report(24, source=False, name=n) for n in "ab"], Pictures())
    read(html)
    assert "identity" not in html


def test_results_may_cover_different_frames() -> None:
    read(render_compare([example_report(24, name="a"), example_report(60, name="b")], Pictures()))
    with pytest.raises(ValueError, match="got no reports"):
        render_compare([], Pictures())


def test_the_viewer_gets_its_payload_and_nothing_in_it_ends_the_script() -> None:
    payload = {"name": "</script><script>alert(1)</script>&\u2028\u2029", "planes": ["QUJD"]}
    pictures = example_pictures(payload)
    for html in (render_report(example_report(), pictures), render_compare([example_report()], pictures)):
        reader = read(html)
        (data,) = re.findall(r'<script type="application/json" id="viewer-data">(.*?)</script>', html, re.S)
        assert not set("<>&\u2028\u2029") & set(data)
        assert json.loads(data) == payload
        assert reader.scripts[0] == data
        assert 'href="#viewer"' in html
        assert "data-viewer" in html
        assert "seqhdr:frame" in reader.scripts[-1]
    without = render_report(example_report(), example_pictures())
    assert "viewer-data" not in without
    assert 'href="#viewer"' not in without


def test_the_same_report_gives_the_same_bytes_and_is_left_alone() -> None:
    report = example_report(24, truth=True)
    before = copy.deepcopy(report)
    assert render_report(report, example_pictures()) == render_report(report, example_pictures())
    assert report == before


def test_pages_need_no_torch() -> None:
    code = "import sys, seqhdr.quality.page, seqhdr.quality.thumbnails; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
