"""Optical flow: who moved where, in pixels.

All flow here is *backward*: ``flow_px[:, :, y, x] = (dx, dy)`` says that what is at ``(x, y)`` in the current
frame was at ``(x + dx, y + dy)`` in the previous one. Pixel centres are at integer coordinates.

This package knows nothing of ``seqhdr`` and can be used alone.
"""

from flow.dis import DisFlow
from flow.estimator import FlowEstimator
from flow.exact import rotation_flow, view_rays
from flow.occlusion import occluded
from flow.raft import RaftFlow, raft_net, save_raft, sequence_loss
from flow.warp import warp

#: Lets an importer tell this package from another distribution of the same name.
PACKAGE_ID = "seqhdr-flow"

__all__ = [
    "PACKAGE_ID",
    "DisFlow",
    "FlowEstimator",
    "RaftFlow",
    "occluded",
    "raft_net",
    "rotation_flow",
    "save_raft",
    "sequence_loss",
    "view_rays",
    "warp",
]
