"""Several shots at once: an index that leads to all of them, and pages that keep apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

import seqhdr
from seqhdr.errors import UsageError
from tests.pipeline.measured_shots import FRAMES
from tests.pipeline.report_shots import Page, hills, write_exrs


def test_the_result_says_what_was_written(shoot: Any, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    finished: list[tuple[str, Path]] = []
    patterns = [shoot(FRAMES, name="a_", size=(16, 16)), shoot(FRAMES, name="b_", size=(16, 16))]
    result = seqhdr.report(
        patterns,
        output=str(tmp_path / "new" / "folder"),
        on_frame=lambda shot, done, of: told.append((shot, done, of)),
        on_report=lambda report, page: finished.append((report["name"], page)),
    )
    assert isinstance(result, seqhdr.ReportResult)
    folder = tmp_path / "new" / "folder"
    assert result.pages == (folder / "a.report.html", folder / "b.report.html")
    assert result.data == (folder / "a.report.json", folder / "b.report.json")
    assert result.index == folder / "reports.html"
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        p.name for p in (*result.pages, *result.data, result.index)
    )
    assert told == [(pattern, n, 3) for pattern in patterns for n in (1, 2, 3)]
    assert finished == [("a", result.pages[0]), ("b", result.pages[1])]
    assert seqhdr.report(Path(patterns[0])).index is None


def test_an_index_links_to_the_shot_that_flickers_most_first(tmp_path: Path) -> None:
    patterns = [
        write_exrs(
            tmp_path / folder,
            FRAMES,
            lambda n, gain=gain: hills((32, 24)) * np.float32(gain if n % 2 else 1),  # type: ignore[misc]
            name=f"{folder}_",
        )
        for folder, gain in (("calm", 1.0), ("wild", 1.1), ("mild", 1.01))
    ]
    result = seqhdr.report(patterns)
    assert result.index == tmp_path / "reports.html"
    page = Page(result.index)
    assert page.text("h1") == "3 shots"
    shots = [href for href in page.hrefs if href.startswith("./") and "#" not in href]
    assert shots == [f"./{name}/{name}.report.html" for name in ("wild", "mild", "calm")]
    for href in (href for href in page.hrefs if not href.startswith("#")):
        parts = urlsplit(href)
        assert not parts.scheme
        target = Page(tmp_path / unquote(parts.path))
        assert parts.fragment == "" or parts.fragment in target.ids


def test_two_shots_that_would_write_one_page_are_refused(shoot: Any) -> None:
    patterns = [shoot(FRAMES, name="shot_", size=(8, 8)), shoot(FRAMES, name="shot.", size=(8, 8))]
    for twice in (patterns, [patterns[0]] * 2):
        with pytest.raises(UsageError, match=r"shot.report.html: two of the shots would write it: .* with -o"):
            seqhdr.report(twice)


def test_another_spelling_of_a_folder_is_still_that_folder(shoot: Any) -> None:
    pattern = Path(shoot(FRAMES, name="shot_", size=(8, 8)))
    other = Path(shoot(FRAMES, name="shot.", size=(8, 8)))
    with pytest.raises(UsageError, match="two of the shots would write it"):
        seqhdr.report([pattern, other.parent / ".." / other.parent.name / other.name])


def test_a_shot_called_index_keeps_its_page(shoot: Any) -> None:
    result = seqhdr.report([shoot(FRAMES, name=name, size=(8, 8)) for name in ("index_", "shot_")])
    assert Page(result.pages[0]).text("h1") == "index"
