"""What a run would do, found out without writing anything."""

from __future__ import annotations

from typing import Any

from seqhdr.media.cuts import parse_cuts
from seqhdr.media.frames import read_frame
from seqhdr.media.shot import output_name
from seqhdr.model.net import SeqNet
from seqhdr.model.tiles import BYTES_FIXED, BYTES_PER_PIXEL, plan_tiles
from seqhdr.pipeline.convert import output_path
from seqhdr.pipeline.options import RunOptions
from seqhdr.pipeline.setup import ShotSetup

__all__ = ["plan_shot"]


def plan_shot(setup: ShotSetup, options: RunOptions, net: SeqNet) -> dict[str, Any]:
    """Describe a run of one shot.

    Args:
        setup: from :func:`~seqhdr.pipeline.setup.prepare_shot`.
        options: the user's wishes.
        net: the network.

    Returns:
        JSON-able: frames, gaps, cuts, existing output, tiles, bins, and expected memory in bytes.

    Raises:
        FrameError: a frame cannot be read.
    """
    shot, info = setup.shot, setup.info
    cuts = parse_cuts(options.cuts, shot.available, bits=info.bits)
    starts = [
        frame for frame in shot.frames if cuts.is_cut(frame, read_frame(shot.source_path(frame), expect=info).codes)
    ]
    grid = plan_tiles(info.height, info.width, setup.tile)
    largest = max((tile.bottom - tile.top) * (tile.right - tile.left) for tile in grid.tiles)
    # Every tile keeps its state (six planes and the bottleneck's) between frames; the frame itself is held whole.
    held = info.width * info.height * 4 * 30 if len(grid.tiles) > 1 else 0
    return {
        "shot": shot.pattern,
        "frames": list(shot.frames),
        "missing": list(shot.missing),
        "segments": [[run[0], run[-1]] for run in shot.segments],
        "cuts": starts,
        "size": [info.width, info.height],
        "bits": info.bits,
        "bins": {"half_width_lsb": setup.bins.half_width_lsb, "reason": setup.bins.reason},
        "model": net.config.name,
        "tiles": len(grid.tiles),
        "tile_px": setup.tile,
        "memory_bytes": int(BYTES_FIXED + BYTES_PER_PIXEL * largest + held),
        "first_output": str(options.output / output_name(shot, options.output_space, shot.frames[0])),
        "existing": sum(output_path(shot, options, frame).exists() for frame in shot.frames),
    }
