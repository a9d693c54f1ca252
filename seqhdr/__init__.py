"""seqhdr: 8-bit frame sequences in, 16-bit log EXR sequences out.

The names below are all there is to know; they are loaded when first used, since torch takes seconds to import.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from seqhdr.errors import (
    FrameError,
    FramesFailedError,
    GateError,
    InputError,
    OutputExistsError,
    SeqhdrError,
    ShotError,
    UnknownNameError,
    UsageError,
    WeightsError,
)

if TYPE_CHECKING:
    from seqhdr.api import Event, RunReport, plan, run, verify
    from seqhdr.api_classic import DeflickerReport, calibrate, deflicker, stack
    from seqhdr.api_report import ReportResult, report
    from seqhdr.api_train import evaluate, prepare, synth, train_model
    from seqhdr.color.encodings import ColorEncoding, get_encoding
    from seqhdr.media.shot import Shot, find_shot
    from seqhdr.model.cards import load_model
    from seqhdr.model.head import Prediction
    from seqhdr.model.predict import Predictor

__all__ = [
    "ColorEncoding",
    "DeflickerReport",
    "Event",
    "FrameError",
    "FramesFailedError",
    "GateError",
    "InputError",
    "OutputExistsError",
    "Prediction",
    "Predictor",
    "ReportResult",
    "RunReport",
    "SeqhdrError",
    "Shot",
    "ShotError",
    "UnknownNameError",
    "UsageError",
    "WeightsError",
    "__version__",
    "calibrate",
    "deflicker",
    "evaluate",
    "find_shot",
    "get_encoding",
    "load_model",
    "plan",
    "prepare",
    "report",
    "run",
    "stack",
    "synth",
    "train_model",
    "verify",
]

__version__ = version("seqhdr")

_HOMES = {
    "ColorEncoding": "seqhdr.color.encodings",
    "DeflickerReport": "seqhdr.api_classic",
    "Event": "seqhdr.api",
    "Prediction": "seqhdr.model.head",
    "Predictor": "seqhdr.model.predict",
    "ReportResult": "seqhdr.api_report",
    "RunReport": "seqhdr.api",
    "Shot": "seqhdr.media.shot",
    "calibrate": "seqhdr.api_classic",
    "deflicker": "seqhdr.api_classic",
    "evaluate": "seqhdr.api_train",
    "find_shot": "seqhdr.media.shot",
    "get_encoding": "seqhdr.color.encodings",
    "load_model": "seqhdr.model.cards",
    "plan": "seqhdr.api",
    "prepare": "seqhdr.api_train",
    "report": "seqhdr.api_report",
    "run": "seqhdr.api",
    "stack": "seqhdr.api_classic",
    "synth": "seqhdr.api_train",
    "train_model": "seqhdr.api_train",
    "verify": "seqhdr.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'seqhdr' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
