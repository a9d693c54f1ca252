"""The page of a report: what it says first and in whose words, whole HTML for every kind of report."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from seqhdr.quality.page import Pictures, render_compare, render_report
from tests.quality.page_reader import read
from tests.quality.report_example import example_pictures, example_report, nothing_measured


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


def test_pages_stay_small() -> None:
    assert len(render_report(example_report(truth=True), Pictures()).encode()) < 300_000
    assert len(render_report(example_report(3000, truth=True), Pictures()).encode()) < 1_500_000


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
