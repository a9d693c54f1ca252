"""What decodes frames, seen from outside: a network, or a method without learning."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from seqhdr.model.head import Prediction
from seqhdr.model.net import State
from seqhdr.model.source import Source

__all__ = ["Decoder", "NamedMethod"]


class NamedMethod(Protocol):
    """What made a frame, for provenance."""

    @property
    def name(self) -> str:
        """What users call it."""

    @property
    def weights_sha256(self) -> str:
        """Hash of its weights; empty without any."""


class Decoder(NamedMethod, Protocol):
    """What :class:`seqhdr.model.predict.Predictor` needs of a network."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""

    @property
    def remembers(self) -> bool:
        """Whether the motion between frames is of use to it."""

    def step(
        self, codes: Tensor, state: State | None, source: Source, flow_px: Tensor | None
    ) -> tuple[Prediction, State]:
        """Decode one frame, as :meth:`seqhdr.model.net.SeqNet.step` does."""
