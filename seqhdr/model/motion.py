"""Where ``flow`` comes in: the only import of it in seqhdr.

``flow`` is a common name, and another distribution may have put its own package there. A foreign one would fail
later and somewhere else, or give motion that means something different; so it is recognised here.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from seqhdr.errors import UsageError

__all__ = ["DisFlow", "FlowEstimator", "ForeignFlowError", "rotation_flow", "view_rays", "warp"]

_PACKAGE_ID = "seqhdr-flow"
_NAMES = ("DisFlow", "FlowEstimator", "rotation_flow", "view_rays", "warp")
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

from flow import DisFlow, FlowEstimator, rotation_flow, view_rays, warp  # noqa: E402
