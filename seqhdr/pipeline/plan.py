"""What a run would do, found out without writing anything."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from seqhdr.errors import FrameError
from seqhdr.media.cuts import parse_cuts
from seqhdr.media.frames import read_frame
from seqhdr.media.shot import output_name
from seqhdr.model.decoder import NamedMethod
from seqhdr.model.tiles import BYTES_FIXED, BYTES_PER_PIXEL, plan_tiles
from seqhdr.pipeline.options import RunOptions
from seqhdr.pipeline.setup import ShotSetup
from seqhdr.pipeline.write import output_path

__all__ = ["plan_shot"]


def plan_shot(setup: ShotSetup, options: RunOptions, net: NamedMethod) -> dict[str, Any]:
    """Describe a run of one shot.

    Args:
        setup: from :func:`~seqhdr.pipeline.setup.prepare_shot`.
        options: the user's wishes.
        net: what makes the frames.

    Returns:
        JSON-able: frames, gaps, unreadable frames and why, cuts, existing output, tiles, bins, and expected
        memory in bytes.
    """
    shot, info = setup.shot, setup.info
    starts: list[int] = []
    unreadable: dict[int, str] = {}
    for segment in shot.segments:
        cuts = parse_cuts(options.cuts, shot.available, bits=info.bits)
        for frame in segment:
            try:
                if cuts.is_cut(frame, read_frame(shot.source_path(frame), expect=info).codes):
                    starts.append(frame)
            except FrameError as error:
                unreadable[frame] = str(error)
    grid = plan_tiles(info.height, info.width, setup.tile)
    largest = max((tile.bottom - tile.top) * (tile.right - tile.left) for tile in grid.tiles)
    # Every tile keeps its state (six planes and the bottleneck's) between frames; the frame itself is held whole.
    held = info.width * info.height * 4 * 30 if len(grid.tiles) > 1 else 0
    return {
        "shot": shot.pattern,
        "frames": list(shot.frames),
        "missing": list(shot.missing),
        "unreadable": unreadable,
        "segments": [[run[0], run[-1]] for run in shot.segments],
        "cuts": starts,
        "size": [info.width, info.height],
        "bits": info.bits,
        "bins": dataclasses.asdict(setup.bins),
        "noise_lsb": setup.cleaning.statistics.noise.summary() if setup.cleaning else None,
        "model": net.name,
        "tiles": len(grid.tiles),
        "tile_px": setup.tile,
        "memory_bytes": int(BYTES_FIXED + BYTES_PER_PIXEL * largest + held),
        "first_output": str(options.output / output_name(shot, options.output_space, shot.frames[0])),
        "existing": sum(os.path.exists(output_path(shot, options, frame)) for frame in shot.frames),
    }
