"""Every error the user can mend has an exit code, a place in the tree, and is in the façade."""

from __future__ import annotations

import pytest

import seqhdr
from seqhdr import errors
from seqhdr.errors import SeqhdrError, UnknownNameError

CODES = {
    "FrameError": 3,
    "FramesFailedError": 4,
    "GateError": 5,
    "InputError": 3,
    "OutputExistsError": 2,
    "SeqhdrError": 1,
    "ShotError": 3,
    "UnknownNameError": 2,
    "UsageError": 2,
    "WeightsError": 3,
}


def test_exit_codes() -> None:
    tree = {name: getattr(errors, name) for name in errors.__all__ if name.endswith("Error")}
    assert {name: kind.exit_code for name, kind in tree.items()} == CODES
    assert all(issubclass(kind, SeqhdrError) for kind in tree.values())
    assert (errors.EXIT_BUG, errors.EXIT_INTERRUPTED) == (1, 130)


def test_the_facade_has_them_all() -> None:
    assert all(getattr(seqhdr, name) is getattr(errors, name) for name in CODES)


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    assert errors.__doc__ is not None
    for name, code in CODES.items():
        line = next(line for line in errors.__doc__.splitlines() if name in line)
        assert name == "SeqhdrError" or str(code) in line or code == getattr(errors, name).__base__.exit_code


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("acescc", "unknown space 'acescc': did you mean ACEScct?"),
        ("ACESct", "unknown space 'ACESct': did you mean ACEScct?"),
        ("zzz", "unknown space 'zzz': known: ACEScct, logc3, srgb."),
    ],
)
def test_an_unknown_name_gets_the_nearest_ones(name: str, expected: str) -> None:
    assert str(UnknownNameError("space", name, ["srgb", "ACEScct", "logc3"])) == expected


def test_an_unknown_name_may_carry_a_hint() -> None:
    assert str(UnknownNameError("model", "x", ["s"], "A path works too.")) == (
        "unknown model 'x': known: s. A path works too."
    )
