"""LPIPS on log pictures: the distance of two pictures in the features of a VGG16 (Zhang et al. 2018)."""

from __future__ import annotations

import contextlib
import io
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from seqhdr.errors import UsageError, WeightsError

__all__ = ["SMALLEST_PX", "PerceptualDistance", "fit_within", "load_lpips", "temporal_lpips"]

#: Pictures with fewer pixels than this along a side cannot be compared: four times halved, 16 pixels leave one.
SMALLEST_PX = 16

_TORCHVISION = "torchvision"
_REMEDY = (
    "give lpips_backbone the path of a .pth or .safetensors file with VGG16's features (tensors features.N.weight and "
    "features.N.bias), or set the weight of lpips to 0"
)


class PerceptualDistance(nn.Module):
    """LPIPS between a prediction and the truth; frozen, and always in evaluation mode.

    LPIPS was calibrated on display pictures. Scene light has no display picture, so the log picture stands in for one:
    ACEScct values, cut to 0..1, are shown to the network as if they were sRGB. That is a flat, greyish rendering in
    which a stop counts alike at every brightness up to 222 times diffuse white (ACEScct 1.0); above that nothing
    counts. Numbers are therefore comparable with each other, not with LPIPS published for display pictures.

    Args:
        lpips: a filled ``lpips.LPIPS``.
    """

    def __init__(self, lpips: nn.Module) -> None:
        super().__init__()
        self.lpips = lpips.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> PerceptualDistance:
        """Stays in evaluation mode: with its dropout on, the distance would be noise."""
        del mode
        super().train(False)
        return self

    def forward(self, rgb_log: Tensor, truth_log: Tensor) -> Tensor:
        """The distance, a mean over all pictures; differentiable.

        Args:
            rgb_log, truth_log: (N, 3, H, W) or (B, T, 3, H, W), ACEScct values.

        Raises:
            UsageError: the pictures are too small for VGG16.
        """
        height, width = rgb_log.shape[-2:]
        if min(height, width) < SMALLEST_PX:
            raise UsageError(
                f"LPIPS needs crops of {SMALLEST_PX} pixels or more, got {width}x{height}: "
                "train on larger crops or set the weight of lpips to 0"
            )
        # Frozen, so that no graph is kept of the truth's features.
        distance: Tensor = self.lpips(*(x.flatten(0, -4).clamp(0, 1) for x in (rgb_log, truth_log)), normalize=True)
        return distance.mean()


def fit_within(image: Tensor, longest_px: int) -> Tensor:
    """The picture with its longer side no longer than ``longest_px``; each pixel is the mean of what it covers.

    Args:
        image: (3, H, W) or (N, 3, H, W). One that fits comes back as it is.
        longest_px: for the longer side.
    """
    height, width = image.shape[-2:]
    longest = max(height, width)
    if longest <= longest_px:
        return image
    size = tuple(max(1, round(side * longest_px / longest)) for side in (height, width))
    batch = image.reshape(-1, *image.shape[-3:])
    return F.interpolate(batch, size=size, mode="area").reshape(*image.shape[:-2], *size)


@torch.no_grad()
def temporal_lpips(
    distance: PerceptualDistance,
    previous_log: Tensor,
    current_log: Tensor,
    previous_reference_log: Tensor,
    current_reference_log: Tensor,
    *,
    longest_px: int = 512,
) -> float:
    """How differently two sequences change from a frame to the next, as LPIPS sees it; 0 is best.

    |LPIPS(b[t-1], b[t]) - LPIPS(g[t-1], g[t])|, the tLP of Chu et al., Learning temporal coherence via
    self-supervision for GAN-based video generation, ACM TOG 2020. Motion raises both distances alike; flicker that
    only one sequence has, or motion that it smears, sets them apart.

    Args:
        distance: from :func:`load_lpips`.
        previous_log, current_log: two successive frames, (3, H, W) ACEScct values.
        previous_reference_log, current_reference_log: the same two frames of the sequence compared with.
        longest_px: larger pictures are reduced to this, see :func:`fit_within`.

    Raises:
        UsageError: the (reduced) pictures are too small for VGG16.
    """
    changes = [
        float(distance(*(fit_within(picture, longest_px)[None] for picture in pair)))
        for pair in ((previous_log, current_log), (previous_reference_log, current_reference_log))
    ]
    return abs(changes[0] - changes[1])


def load_lpips(backbone: str | Path | None = None) -> PerceptualDistance:
    """Build LPIPS on a VGG16; its calibrated linear layers come with the ``lpips`` package.

    Args:
        backbone: the path of a file with VGG16's features, ``.pth`` or ``.safetensors``, half or full precision, keys
            ``features.N.weight`` or ``N.weight`` as torchvision numbers them; other tensors in it are ignored.
            ``"torchvision"`` or None: torchvision's own weights, from its cache or downloaded into it.

    Returns:
        The distance, on the CPU, float32.

    Raises:
        WeightsError: the weights cannot be had, read, or are not VGG16's.
    """
    name = "torchvision's VGG16" if backbone in (None, _TORCHVISION) else str(backbone)
    tensors = _from_torchvision() if backbone in (None, _TORCHVISION) else _from_file(Path(str(backbone)))
    tensors = {key.removeprefix("features."): value for key, value in tensors.items()}

    # Slow to import, and only needed by those who use this term.
    import lpips

    # Without memory for the random VGG16 that the package builds first, most of which (its classifier) is then thrown
    # away. The package calls torchvision in a way that torchvision warns of.
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore", UserWarning)
        net = lpips.LPIPS(net="vgg", pretrained=False, pnet_rand=True, verbose=False)
    net.scaling_layer = lpips.ScalingLayer()
    linear = Path(lpips.__file__).parent / "weights" / "v0.1" / "vgg.pth"
    state = torch.load(linear, map_location="cpu", weights_only=True)
    for key, empty in net.net.state_dict().items():
        # The package's slices keep torchvision's numbers: slice2.5.weight is features.5.weight.
        number = key.split(".", 1)[1]
        found = tensors.get(number)
        if not isinstance(found, Tensor) or found.shape != empty.shape:
            what = "is missing" if not isinstance(found, Tensor) else f"has shape {tuple(found.shape)}"
            raise WeightsError(f"{name}: features.{number} {what}, VGG16 has {tuple(empty.shape)} there; {_REMEDY}")
        state[f"net.{key}"] = found.float()
    net.load_state_dict(state, strict=False, assign=True)
    return PerceptualDistance(net)


def _from_torchvision() -> Mapping[str, Any]:
    from torchvision.models import VGG16_Weights

    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            state: Mapping[str, Any] = VGG16_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(f"torchvision's VGG16 weights cannot be had ({error}); {_REMEDY}") from error
    return state


def _from_file(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; {_REMEDY}")
    try:
        if path.suffix == ".safetensors":
            state: object = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read as weights ({type(error).__name__}); {_REMEDY}") from error
    if not isinstance(state, Mapping):
        raise WeightsError(f"{path}: holds a {type(state).__name__}, not tensors by name; {_REMEDY}")
    return state
