"""What a run writes down: rows, curves and pictures, also after it was interrupted."""

from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from seqhdr.errors import UsageError
from seqhdr.train.board import Board, before_after


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0}).Reload()


def steps(folder: Path, name: str) -> dict[int, float]:
    return {event.step: event.value for event in events(folder).Scalars(name)}


def test_rows_are_written_one_by_one(tmp_path: Path) -> None:
    board = Board(tmp_path, tensorboard=False)
    assert rows(tmp_path) == []
    board.row("train", 10, {"loss": 0.123456789, "lr": 2e-3})
    assert rows(tmp_path) == [{"kind": "train", "step": 10, "loss": 0.123457, "lr": 0.002}]
    board.row("validation", 20, {"loss": math.inf})
    board.picture("view", 20, torch.zeros(3, 4, 4))
    board.close()
    assert rows(tmp_path)[1] == {"kind": "validation", "step": 20, "loss": math.inf}
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_tensorboard_shows_curves_and_pictures(tmp_path: Path) -> None:
    board = Board(tmp_path, tensorboard=True)
    for step in (10, 20):
        board.row("train", step, {"loss": 1 / step, "lr": 0.5})
    picture = torch.linspace(0, 1, 3 * 6 * 9).view(3, 6, 9)
    board.picture("before, after, truth", 20, picture)
    board.close()
    seen = events(tmp_path)
    assert set(seen.Tags()["scalars"]) == {"train/loss", "train/lr"}
    assert steps(tmp_path, "train/loss") == {10: pytest.approx(0.1), 20: pytest.approx(0.05)}
    (tag,) = seen.Tags()["images"]
    (event,) = seen.Images(tag)
    shown = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))
    assert event.step == 20
    np.testing.assert_allclose(shown, picture.permute(1, 2, 0) * 255, atol=1)
    assert [row["step"] for row in rows(tmp_path)] == [10, 20]


def test_strata_are_rows_by_encoding_and_stratum(tmp_path: Path) -> None:
    board = Board(tmp_path, tensorboard=True)
    flat = {"share": 0.5, "psnr_db": 60.0, "identity_psnr_db": 58.0, "gain_db": 2.0}
    clipped = {"share": 0.1, "rmse_stops": 0.5, "identity_rmse_stops": 0.75, "bias_stops": -0.25}
    board.strata(30, {"srgb": {"flat": flat, "clipped": clipped}, "acescct": {"flat": flat}})
    board.close()
    assert rows(tmp_path) == [
        {
            "kind": "validation",
            "step": 30,
            "srgb/flat/psnr_db": 60.0,
            "srgb/flat/gain_db": 2.0,
            "srgb/clipped/rmse_stops": 0.5,
            "srgb/clipped/identity_rmse_stops": 0.75,
            "srgb/clipped/bias_stops": -0.25,
            "acescct/flat/psnr_db": 60.0,
            "acescct/flat/gain_db": 2.0,
        }
    ]
    assert steps(tmp_path, "validation/srgb/clipped/bias_stops") == {30: -0.25}


def run_until(folder: Path, last: int, step: int = 0, value: float = 1.0) -> None:
    """A sitting that writes every ten steps after ``step``."""
    board = Board(folder, tensorboard=True, step=step)
    for here in range(step + 10, last + 1, 10):
        board.row("train", here, {"loss": value})
    board.close()


def test_what_an_interruption_left_behind_is_dropped(tmp_path: Path) -> None:
    run_until(tmp_path, 50)
    # The checkpoint is of step 30: 40 and 50 come again, and what was written at 30 stays.
    run_until(tmp_path, 60, step=30, value=2.0)
    expected = {10: 1.0, 20: 1.0, 30: 1.0, 40: 2.0, 50: 2.0, 60: 2.0}
    assert {row["step"]: row["loss"] for row in rows(tmp_path)} == expected
    assert len(rows(tmp_path)) == len(expected)
    assert steps(tmp_path, "train/loss") == expected
    assert len(events(tmp_path).Scalars("train/loss")) == len(expected)


def test_a_run_that_begins_anew_forgets_the_old_one(tmp_path: Path) -> None:
    run_until(tmp_path, 50)
    run_until(tmp_path, 20, value=2.0)
    assert [row["loss"] for row in rows(tmp_path)] == [2.0, 2.0]
    assert steps(tmp_path, "train/loss") == {10: 2.0, 20: 2.0}


def test_a_row_that_broke_off_is_dropped(tmp_path: Path) -> None:
    run_until(tmp_path, 20)
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"kind": "train", "st')
    Board(tmp_path, tensorboard=False, step=20).row("train", 30, {"loss": 3.0})
    assert [row["step"] for row in rows(tmp_path)] == [10, 20, 30]


def test_without_tensorboard_one_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"pip install 'seqhdr\[train\]', or --set train\.tensorboard=false"):
        Board(tmp_path, tensorboard=True)
    Board(tmp_path, tensorboard=False).close()


def test_source_result_and_truth_stand_side_by_side() -> None:
    level = torch.tensor((40.0, 120.0, 200.0)).view(3, 1, 1)
    codes = level.expand(3, 20, 30)
    shown = before_after(codes, torch.full((3, 20, 30), 0.25), codes - 0.5)
    assert shown.shape == (3, 20, 90)
    # Everything is stretched twelve times around the mean of the codes.
    for place, offset in enumerate((0.0, 0.25, -0.5)):
        expected = (level + 12 * offset).expand(3, 20, 30) / 255
        torch.testing.assert_close(shown[..., 30 * place : 30 * place + 30], expected)


def test_levels_are_stretched_around_the_mean_nearby() -> None:
    codes = torch.full((3, 50, 60), 100.0)
    codes[:, 25, 30] = 101.0
    shown = before_after(codes, torch.zeros_like(codes), codes)[..., :60] * 255
    mean = 100 + 1 / 33**2
    torch.testing.assert_close(shown[:, 25, 30], torch.full((3,), mean + 12 * (101 - mean)))
    torch.testing.assert_close(shown[:, 25, 31], torch.full((3,), mean + 12 * (100 - mean)))
    # Sixteen pixels away is the last place that the window still sees.
    torch.testing.assert_close(shown[:, 9, 14], torch.full((3,), mean + 12 * (100 - mean)))
    torch.testing.assert_close(shown[:, 8, 30], torch.full((3,), 100.0))


def test_a_slope_is_shown_as_it_is_and_nothing_leaves_the_range() -> None:
    codes = torch.arange(0, 120, 2.0).expand(3, 50, 60).contiguous()
    shown = before_after(codes, torch.zeros_like(codes), codes)[..., :60] * 255
    torch.testing.assert_close(shown[..., 16:-16], codes[..., 16:-16])
    beyond = before_after(codes + 100, torch.full_like(codes, 30), codes + 5000)
    assert float(beyond.min()) >= 0
    assert float(beyond.max()) <= 1
