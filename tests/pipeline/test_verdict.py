"""Limits held against rows, the sentence, the gate."""

from __future__ import annotations

from typing import Any

import pytest

from seqhdr.errors import GateError, UsageError
from seqhdr.pipeline import verdict
from seqhdr.pipeline.report_options import Limits, ReportOptions

Row = dict[str, Any]


def row(frame: int, **changed: Any) -> Row:
    calm = {
        "frame": frame,
        "flicker_stops": 0.01,
        "source_flicker_stops": 0.01,
        "excess_flicker_stops": 0.0,
        "jitter_stops": 0.001,
        "source_jitter_stops": 0.001,
        "excess_jitter_stops": 0.0,
        "banding_index": 0.0,
        "inside_share": 1.0,
        "nonfinite": 0,
    }
    return calm | changed


def found(rows: list[Row], limits: Limits | None = None, against: str | None = "source") -> dict[str, Row]:
    return {check["name"]: check for check in verdict.checks(rows, limits or Limits(), against)}


def test_a_calm_shot_is_good() -> None:
    rows = [row(1001), row(1002)]
    checks = verdict.checks(rows, Limits(), "source")
    assert [check["name"] for check in checks] == ["flicker", "jitter", "banding", "inside", "nonfinite"]
    assert all(check["ok"] for check in checks)
    assert verdict.sentence(checks) == "Steady, even in exposure, no bands, every channel in its bin, no NaN."


@pytest.mark.parametrize(
    ("changed", "name", "words"),
    [
        ({"excess_flicker_stops": 0.0021}, "flicker", "It flickers (frame 1003)."),
        ({"excess_jitter_stops": 0.0021}, "jitter", "Its exposure jumps (frame 1003)."),
        ({"banding_index": 0.021}, "banding", "It has bands (frame 1003)."),
        ({"inside_share": 0.999999}, "inside", "Channels left their bins (frame 1003)."),
        ({"nonfinite": 1}, "nonfinite", "It has NaN or infinite values (frame 1003)."),
    ],
)
def test_one_bad_frame_is_found_and_named(changed: Row, name: str, words: str) -> None:
    rows = [row(n) for n in range(1001, 1006)]
    rows[2] |= changed
    checks = found(rows)
    assert [n for n, check in checks.items() if not check["ok"]] == [name]
    assert checks[name]["frames"] == [1003]
    assert checks[name]["value"] == next(iter(changed.values()))
    assert verdict.sentence(list(checks.values())) == words


def test_a_restless_source_excuses_a_tenth_of_itself_but_not_from_a_limit_that_was_asked_for() -> None:
    rows = [row(1, source_flicker_stops=0.5, excess_flicker_stops=0.049)]
    assert found(rows)["flicker"]["ok"]
    assert not found(rows, Limits(max_flicker=0.002))["flicker"]["ok"]
    assert not found([row(1, source_flicker_stops=0.5, excess_flicker_stops=0.051)])["flicker"]["ok"]


def test_without_anything_to_compare_flicker_is_not_judged_and_jitter_is_by_itself() -> None:
    alone = [row(1, excess_flicker_stops=None, excess_jitter_stops=None, jitter_stops=0.011, inside_share=None)]
    checks = found(alone, against=None)
    assert set(checks) == {"jitter", "banding", "nonfinite"}
    assert not checks["jitter"]["ok"]
    assert found(alone, Limits(max_flicker=0.009), against=None)["flicker"]["frames"] == [1]


def test_the_gate_raises_only_for_what_was_asked() -> None:
    rows = [row(n, excess_flicker_stops=0.004 * (n > 1003), banding_index=0.5) for n in range(1001, 1007)]
    verdict.raise_gate("out", verdict.checks(rows, Limits(), "source"), Limits())
    asked = Limits(max_flicker=0.003, max_jitter=0.1, min_inside=100)
    with pytest.raises(GateError) as failed:
        verdict.raise_gate("out", verdict.checks(rows, asked, "source"), asked)
    assert str(failed.value) == "out: flicker, over the source 0.004 stop is above 0.003 stop in frames 1004-1006"
    loose = Limits(max_flicker=0.004)
    verdict.raise_gate("out", verdict.checks(rows, loose, "source"), loose)


def test_inside_is_gated_in_percent() -> None:
    rows = [row(1, inside_share=0.9995)]
    for least, fails in ((99.95, False), (99.96, True), (0.0, False)):
        limits = Limits(min_inside=least)
        assert found(rows, limits)["inside"]["ok"] is not fails
    with pytest.raises(GateError, match=r"inside their bins 99.950 % is below 99.960 % in frame 1"):
        verdict.raise_gate("out", verdict.checks(rows, Limits(min_inside=99.96), "source"), Limits(min_inside=99.96))


def test_bins_that_hold_to_a_looser_limit_are_not_called_whole() -> None:
    rows = [row(1, inside_share=0.5), row(2)]
    sentence = verdict.sentence(verdict.checks(rows, Limits(min_inside=50), "source"))
    assert "50.0 % of the channels in their bins, or more" in sentence
    assert "every channel" not in sentence


def test_a_frame_in_which_nothing_can_be_compared_does_not_pass() -> None:
    hidden = {"excess_flicker_stops": None, "excess_jitter_stops": None, "flicker_stops": None, "jitter_stops": None}
    rows = [row(1), row(2), row(3, blind=True, **hidden), row(4, blind=True, **hidden)]
    checks = verdict.checks(rows, Limits(), "source")
    assert verdict.sentence(checks) == "Nothing in it can be compared (frames 3-4)."
    verdict.raise_gate("out", checks, Limits(min_inside=100))
    for limits in (Limits(max_flicker=1), Limits(max_jitter=1)):
        with pytest.raises(GateError, match=r"^out: flicker cannot be seen, all is clipped or NaN, in frames 3-4$"):
            verdict.raise_gate("out", verdict.checks(rows, limits, "source"), limits)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_flicker": -0.1}, r"--max-flicker -0.1: give 0 stops or more"),
        ({"max_jitter": float("nan")}, r"--max-jitter nan: give 0 stops or more"),
        ({"min_inside": 100.1}, r"--min-inside 100.1: give from 0 to 100 percent"),
    ],
)
def test_limits_that_mean_nothing_are_refused(limits: Row, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Limits(**limits)


def test_gates_that_nothing_could_fail_are_refused() -> None:
    with pytest.raises(UsageError, match="--min-inside needs the codes"):
        verdict.check_measurable(Limits(min_inside=100), has_source=False, frames=2)
    for limits in (Limits(max_flicker=1), Limits(max_jitter=1)):
        with pytest.raises(UsageError, match="need more than one frame"):
            verdict.check_measurable(limits, has_source=True, frames=1)
    verdict.check_measurable(Limits(1, 1, 100), has_source=True, frames=2)


@pytest.mark.parametrize("stride", ["0", "-1", "1.5", "²", "fine"])
def test_a_stride_is_a_number_of_pixels(stride: str) -> None:
    with pytest.raises(UsageError, match="--stride"):
        ReportOptions(stride=stride)
