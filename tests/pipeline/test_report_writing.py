"""Where pages and JSON go, what they replace, and disks and folders that refuse them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import seqhdr
from seqhdr.errors import FramesFailedError, UsageError
from tests.conftest import picture
from tests.pipeline.measured_shots import FRAMES, column, reported
from tests.pipeline.report_shots import source_values, write_codes, write_exrs


@pytest.mark.parametrize("compare", [False, True])
def test_the_same_frames_give_the_same_bytes(compare: bool, tmp_path: Path) -> None:
    source = write_codes(tmp_path, FRAMES, lambda n: picture(n - 1, size=(96, 64)))
    pattern = write_exrs(tmp_path, FRAMES, lambda n: source_values(n, size=(96, 64)))
    made = []
    for folder in ("once", "again"):
        result = seqhdr.report(
            pattern, source=source, truth=pattern, output=tmp_path / folder, output_space="srgb", compare=compare
        )
        made.append([path.read_bytes() for path in (*result.pages, *result.data)])
    assert made[0] == made[1]


def test_a_report_is_renewed_when_it_is_made_again(shoot: Any, tmp_path: Path) -> None:
    pattern = shoot(FRAMES)
    reported(pattern)
    shoot(FRAMES, cut=2)
    assert column(reported(pattern, cuts="2"), "starts_segment") == [True, True, False]


def test_a_folder_that_cannot_be_is_refused(shoot: Any, tmp_path: Path) -> None:
    pattern = shoot(FRAMES, size=(8, 8))
    blocked = tmp_path / "file"
    blocked.write_text("mine")
    with pytest.raises(UsageError, match=r"file: is a file, and reports go into a folder: give another -o"):
        seqhdr.report(pattern, output=blocked)
    with pytest.raises(UsageError, match=r"cannot become a folder \(Not a directory\): give another -o"):
        seqhdr.report(pattern, output=blocked / "below")
    assert blocked.read_text() == "mine"
    (tmp_path / "out" / "shot.report.html").mkdir(parents=True)
    with pytest.raises(FramesFailedError, match="a folder has that name"):
        seqhdr.report(pattern, output=tmp_path / "out")


def test_a_folder_is_tried_before_anything_is_measured(
    shoot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern = shoot(FRAMES, size=(8, 8))
    (tmp_path / "file").write_text("mine")
    measured: list[int] = []
    monkeypatch.setattr("seqhdr.pipeline.report.os.access", lambda folder, mode: False)
    for output, words in ((tmp_path / "file" / "below", "cannot become"), (tmp_path, "no permission to write")):
        for more in ({}, {"compare": True, "source": pattern}):
            with pytest.raises(UsageError, match=words):
                seqhdr.report(pattern, output=output, on_frame=lambda shot, done, of: measured.append(done), **more)
    assert not measured


def test_a_full_disk_leaves_whole_files_or_none(shoot: Any, tiny_disk: Path) -> None:
    pattern = shoot(FRAMES)
    whole = seqhdr.report(pattern)
    data_bytes, page_bytes = (paths[0].stat().st_size for paths in (whole.data, whole.pages))
    for room in (data_bytes // 2, data_bytes + page_bytes // 2):
        filler = tiny_disk / "filler"
        filler.write_bytes(bytes(256 * 1024 - room // 4096 * 4096 - 8192))
        with pytest.raises(FramesFailedError, match="the disk is full"):
            seqhdr.report(pattern, output=tiny_disk)
        left = [path for path in tiny_disk.iterdir() if path != filler]
        assert [path.name for path in left] in ([], ["shot.report.json"])
        for path in left:
            assert path.read_bytes() == whole.data[0].read_bytes()
            path.unlink()
