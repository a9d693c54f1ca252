"""Where ``flow`` comes in: the only import of it in seqhdr.

``flow`` is a common name, and another distribution may have put its own package there. A foreign one would fail
later and somewhere else, or give motion that means something different; so it is recognised here.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from seqhdr.errors import UsageError, WeightsError

if TYPE_CHECKING:
    import torch

__all__ = [
    "DisFlow",
    "FlowEstimator",
    "ForeignFlowError",
    "RaftFlow",
    "make_flow",
    "occluded",
    "rotation_flow",
    "view_rays",
    "warp",
]

_PACKAGE_ID = "seqhdr-flow"
_NAMES = ("DisFlow", "FlowEstimator", "RaftFlow", "occluded", "rotation_flow", "view_rays", "warp")
_REMEDY = "run 'pip install --force-reinstall seqhdr', best in an environment of its own"


class ForeignFlowError(UsageError, ImportError):
    """The package ``flow`` that Python finds is not the one that comes with seqhdr."""


def _check(module: ModuleType) -> None:
    place = module.__file__ or ", ".join(module.__path__)
    if getattr(module, "PACKAGE_ID", None) != _PACKAGE_ID:
        raise ForeignFlowError(
            f"{place}: this package 'flow' belongs to something else and hides the one that seqhdr needs; "
            f"uninstall or rename it, then {_REMEDY}"
        )
    missing = [name for name in _NAMES if not hasattr(module, name)]
    if missing:
        raise ForeignFlowError(
            f"{place}: this package 'flow' is of another version, it has no {', '.join(missing)}; {_REMEDY}"
        )


try:
    _check(importlib.import_module("flow"))
except ForeignFlowError:
    raise
except ImportError as error:
    raise ForeignFlowError(f"the package 'flow' cannot be imported ({error}); {_REMEDY}") from error

from flow import DisFlow, FlowEstimator, RaftFlow, occluded, rotation_flow, view_rays, warp  # noqa: E402


def make_flow(name: str, weights: str | Path | None = None, device: torch.device | str = "cpu") -> FlowEstimator | None:
    """Build the estimator that ``--flow`` names.

    Args:
        name: ``dis``, ``raft`` or ``off``.
        weights: of RAFT, a path or ``download``; the others have none.
        device: where RAFT runs; DIS always runs on the CPU.

    Returns:
        The estimator, or None for ``off``.

    Raises:
        WeightsError: the weights cannot be had, or are not RAFT's.
        ValueError: an estimator nobody knows, or RAFT without weights.
    """
    if name == "off":
        return None
    if name == "dis":
        return DisFlow()
    if name != "raft" or weights is None:
        raise ValueError(f"got flow {name!r} with weights {weights}: expected dis, off, or raft with weights")
    try:
        return RaftFlow(weights, device=device)
    except ValueError as error:
        raise WeightsError(str(error)) from error
