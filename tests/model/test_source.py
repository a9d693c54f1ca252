"""What the network is told about the codes."""

from __future__ import annotations

import pytest
import torch

from seqhdr.color.bins import bin_width_stops
from seqhdr.color.encodings import get_encoding
from seqhdr.model.source import WIDTH_LUT_SIZE, describe_source, log_width_table


@pytest.mark.parametrize("name", ["srgb", "acescct", "logc3", "rec709", "lin_rec709"])
@pytest.mark.parametrize("bits", [8, 10, 16])
def test_the_table_is_small_and_within_its_range(name: str, bits: int) -> None:
    table = log_width_table(get_encoding(name), 2**bits - 1)
    assert table.shape == (WIDTH_LUT_SIZE,)
    assert table.dtype == torch.float32
    assert table.min() >= -12
    assert table.max() <= 2


def test_the_table_holds_logarithms_of_stops() -> None:
    srgb = get_encoding("srgb")
    table = log_width_table(srgb, 255)
    code = 128
    low, high = (srgb.decode(torch.tensor((code + e) / 255, dtype=torch.float64)) for e in (-0.5, 0.5))
    assert float(table[code]) == pytest.approx(float(torch.log2(torch.log2(high / low))), abs=0.01)
    torch.testing.assert_close(table, bin_width_stops(srgb, 255).log2().clamp(-12, 2))


def test_a_log_curve_has_equal_widths_and_srgb_has_not() -> None:
    log, srgb = (log_width_table(get_encoding(name), 255) for name in ("acescct", "srgb"))
    assert log[60:].max() - log[60:].min() < 0.01
    assert srgb[20] - srgb[240] > 2.5


def test_more_bits_are_narrower() -> None:
    eight, ten = (log_width_table(get_encoding("acescct"), m) for m in (255, 1023))
    assert float((eight - ten)[200]) == pytest.approx(2, abs=0.02)


def test_a_source_is_a_batch_of_one() -> None:
    source = describe_source(get_encoding("srgb"), 2.5, 1023, bounded=False)
    assert source.half_width_lsb.tolist() == [2.5]
    assert source.log_width.shape == (1, WIDTH_LUT_SIZE)
    assert (source.max_code, source.bounded) == (1023.0, False)
