"""What ``--model`` names: a network with its weights, or a method that needs none."""

from __future__ import annotations

from pathlib import Path

import torch

from seqhdr.classic.deband import ClassicDeband
from seqhdr.classic.stack import LuminanceStack
from seqhdr.errors import UnknownNameError, WeightsError
from seqhdr.model.cards import load_model, shipped_models
from seqhdr.model.decoder import Decoder

__all__ = ["CLASSIC", "LUMINANCE", "load_decoder"]

#: Debands without a network.
CLASSIC = ClassicDeband.name
#: Stretches highlights without a network.
LUMINANCE = "luminance"


def load_decoder(name: str | Path, device: torch.device | str = "cpu") -> Decoder:
    """Get ready what decodes the frames.

    Args:
        name: a shipped model, the path of a ``.safetensors`` file, ``classic`` or ``luminance``.
        device: where it runs.

    Raises:
        UnknownNameError: nothing of that name is there.
        WeightsError: the weights cannot be used; the sentence names ``classic``, which needs none.
    """
    if str(name) == CLASSIC:
        return ClassicDeband(device)
    if str(name) == LUMINANCE:
        return LuminanceStack(device=torch.device(device))
    try:
        return load_model(name, device)
    except UnknownNameError:
        known = (*shipped_models(), CLASSIC, LUMINANCE)
        raise UnknownNameError("model", str(name), known, "A path to a .safetensors file works too.") from None
    except WeightsError as error:
        raise WeightsError(f"{error}; --model {CLASSIC} debands without weights") from error
