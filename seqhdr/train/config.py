"""What a training run is told. Every field is a key of the files in ``configs/train``, under its class's section."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from seqhdr.errors import UnknownNameError, UsageError
from seqhdr.model.net import ModelConfig
from seqhdr.train.augment import AugmentConfig
from seqhdr.train.camera import CameraConfig
from seqhdr.train.degrade import DegradeConfig
from seqhdr.train.layers import LayerConfig
from seqhdr.train.objective import LossConfig
from seqhdr.train.soften import SoftConfig

__all__ = ["DataConfig", "LoopConfig", "SceneConfig", "TrainConfig"]

FLOWS = ("dis", "exact", "broken", "raft", "none")


@dataclass(frozen=True)
class SceneConfig:
    """How clips are made from panoramas: what the camera does, what moves before it, and what befalls the picture.

    Attributes:
        camera: the paths of the virtual camera.
        soft: worlds without detail.
        layers: the foreground.
        degrade: from light to 8-bit codes.
        augment: flips, turns, brightness.
    """

    camera: CameraConfig = field(default_factory=CameraConfig)
    soft: SoftConfig = field(default_factory=SoftConfig)
    layers: LayerConfig = field(default_factory=LayerConfig)
    degrade: DegradeConfig = field(default_factory=DegradeConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@dataclass(frozen=True)
class DataConfig:
    """Where clips come from, and their sizes.

    Attributes:
        panoramas: folders of ``.exr``/``.hdr`` panoramas, files, or ``procedural:SEED`` for a painted one.
        clips: folders of pairs, as ``synth`` and ``prepare`` write them; only their ``train`` part where they are
            split. ``val`` is for validation.
        clips_share: share of the training clips that come from pairs where both are given.
        remake_input: make the input of pairs anew from their truth, with the degradations of the scene, instead of
            taking the codes that lie beside it.
        frames: T, frames of a clip.
        crops: side of the crops in pixels → clips of a batch (per process), about equal in pixels.
        crop_shares: side of the crops → share of the batches.
        flow: shares of the flow the network is given: ``dis``, ``exact``, ``broken`` (wrong, or no motion at all),
            ``raft``, ``none``.
        raft_weights: path of RAFT's weights, or ``download``.
        workers: processes that make clips; 0 makes them in the training process.
        prefetch: batches that each worker makes ahead.
        cache_mb: megabytes of decoded pairs that each worker keeps.
        validation_share: share of the panoramas that is held back for validation.
        validation_clips: clips of a validation.
        validation_size: side of their crops in pixels.
        validation_seed: of the validation clips.
    """

    panoramas: tuple[str, ...] = ()
    clips: tuple[str, ...] = ()
    clips_share: float = 0.5
    remake_input: bool = False
    frames: int = 6
    crops: dict[int, int] = field(default_factory=lambda: {128: 4, 192: 2, 256: 1})
    crop_shares: dict[int, float] = field(default_factory=lambda: {128: 0.55, 192: 0.28, 256: 0.17})
    flow: dict[str, float] = field(default_factory=lambda: {"dis": 0.55, "exact": 0.25, "broken": 0.2})
    raft_weights: str | None = None
    workers: int = 1
    prefetch: int = 4
    cache_mb: int = 1500
    validation_share: float = 0.1
    validation_clips: int = 16
    validation_size: int = 192
    validation_seed: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            UsageError: no data, or sizes and shares that do not fit together.
        """
        if not self.panoramas and not self.clips:
            raise UsageError("data.panoramas and data.clips are both empty: give --set data.panoramas=[FOLDER]")
        if self.frames < 1:
            raise UsageError(f"data.frames is {self.frames}: give 1 or more")
        if set(self.crops) != set(self.crop_shares) or not self.crops:
            raise UsageError("data.crops and data.crop_shares name different sizes: give each size in both")
        if min(*self.crops, *self.crops.values()) < 1:
            raise UsageError(f"data.crops is {self.crops}: give sides and clips of 1 or more")
        if unknown := set(self.flow) - set(FLOWS):
            raise UnknownNameError("flow in data.flow", min(unknown), FLOWS)
        for name in ("flow", "crop_shares"):
            shares = getattr(self, name).values()
            if min(shares, default=0) < 0 or not 0 < sum(shares) < math.inf:
                raise UsageError(f"data.{name} is {getattr(self, name)}: give shares of 0 or more, one of them above 0")
        if self.flow.get("raft", 0) > 0 and not self.raft_weights:
            raise UsageError("data.flow asks for raft: give data.raft_weights a path, or download")
        for name in ("validation_clips", "validation_size", "prefetch"):
            if getattr(self, name) < 1:
                raise UsageError(f"data.{name} is {getattr(self, name)}: give 1 or more")
        for name in ("workers", "cache_mb", "validation_seed"):
            if getattr(self, name) < 0:
                raise UsageError(f"data.{name} is {getattr(self, name)}: give 0 or more")
        if not 0 <= self.clips_share <= 1:
            raise UsageError(f"data.clips_share is {self.clips_share}: give a share from 0 to 1")
        if not 0 <= self.validation_share < 1:
            raise UsageError(f"data.validation_share is {self.validation_share}: give a share from 0 to below 1")


@dataclass(frozen=True)
class LoopConfig:
    """The training loop.

    Attributes:
        start: weights to start from, a shipped name or a file; None starts from random ones.
        learn: ``all``, or ``gains``: see :func:`seqhdr.train.gains.learn_gains`.
        seed: of weights, clips and everything drawn.
        epochs: at most so many.
        steps_per_epoch: optimizer steps between two validations.
        lr: learning rate of AdamW.
        weight_decay: of AdamW.
        schedule: ``plateau`` (lower when validation stalls), ``cosine`` (to zero at the last step) or ``constant``.
        warmup_steps: steps over which the learning rate rises to ``lr``.
        plateau_factor: what the learning rate is multiplied by when validation stalls.
        plateau_patience: epochs without improvement before that.
        stop_patience: epochs without improvement before the run ends; 0 never ends it.
        accumulate: batches of one optimizer step.
        clip_norm: largest norm of the gradient; 0 does not clip.
        ema: decay of the running mean of the weights, which is what is validated and kept.
        back_frames: frames through which gradients run back (truncated back-propagation); 0 is the whole clip.
        memory_drop: share of frames at which the memory is dropped.
        precision: ``auto`` (bfloat16 on GPUs that have it), ``float32`` or ``bfloat16``. The head is float32 always.
        compile: ``off``, or a backend of torch.compile: ``inductor``; ``aot_eager`` and ``eager`` for finding faults.
        recompute: gradient checkpointing, frame by frame.
        checkpoint_minutes: minutes between two checkpoints inside an epoch; one is also written at its end.
        minutes: stop after so many, to be resumed; 0 has no limit.
        log_every: steps of a row in the log.
        tensorboard: write TensorBoard's files too.
        device: ``auto``, ``cpu``, ``cuda``.
    """

    start: str | None = None
    learn: str = "all"
    seed: int = 1
    epochs: int = 100
    steps_per_epoch: int = 500
    lr: float = 2e-3
    weight_decay: float = 1e-3
    schedule: str = "plateau"
    warmup_steps: int = 100
    plateau_factor: float = 0.5
    plateau_patience: int = 5
    stop_patience: int = 15
    accumulate: int = 1
    clip_norm: float = 1.0
    ema: float = 0.998
    back_frames: int = 0
    memory_drop: float = 0.07
    precision: str = "auto"
    compile: str = "off"
    recompute: bool = False
    checkpoint_minutes: float = 5.0
    minutes: float = 0.0
    log_every: int = 50
    tensorboard: bool = True
    device: str = "auto"

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            UsageError: a number out of its range, or a name nobody knows.
        """
        for name in ("epochs", "steps_per_epoch", "accumulate", "log_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"train.{name} is {getattr(self, name)}: give 1 or more")
        counts = ("seed", "warmup_steps", "plateau_patience", "stop_patience", "back_frames")
        for name in (*counts, "weight_decay", "clip_norm", "checkpoint_minutes", "minutes"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"train.{name} is {getattr(self, name)}: give 0 or more")
        known: dict[str, tuple[str, ...]] = {"compile": ("off", "inductor", "aot_eager", "eager")}
        known |= {"learn": ("all", "gains")}
        known |= {"schedule": ("plateau", "cosine", "constant"), "precision": ("auto", "float32", "bfloat16")}
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise UnknownNameError(f"train.{name}", getattr(self, name), values)
        if not self.lr > 0:
            raise UsageError(f"train.lr is {self.lr}: give a positive learning rate, like 2e-3")
        if not 0 < self.plateau_factor < 1:
            raise UsageError(f"train.plateau_factor is {self.plateau_factor}: give a factor between 0 and 1")
        if not 0 <= self.memory_drop <= 1:
            raise UsageError(f"train.memory_drop is {self.memory_drop}: give a share from 0 to 1")
        if not 0 <= self.ema < 1:
            raise UsageError(f"train.ema is {self.ema}: give a decay from 0 to below 1")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run.

    Attributes:
        model: sizes of the network.
        data: where clips come from.
        scene: how they are made.
        loss: the terms and their weights.
        train: the loop.
    """

    model: ModelConfig
    data: DataConfig
    scene: SceneConfig = field(default_factory=SceneConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    train: LoopConfig = field(default_factory=LoopConfig)

    def __post_init__(self) -> None:
        """Refuse sizes that make no network.

        Raises:
            UsageError: fewer than two levels, or a level without channels or blocks.
        """
        model = self.model
        if len(model.channels) < 2 or min(model.channels) < 1:
            raise UsageError(f"model.channels is {list(model.channels)}: give two or more numbers of 1 or more")
        if model.blocks < 1:
            raise UsageError(f"model.blocks is {model.blocks}: give 1 or more")
