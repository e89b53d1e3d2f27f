"""Cameras, planes, and the homographies between pictures. Needs torch only.

Conventions, everywhere in cnnfast: pixel centres are at integers, (x, y) = (column, row), so that a picture covers
[-0.5, W - 0.5] x [-0.5, H - 0.5]; axes are OpenCV's (x right, y down, z forward); a pose is X_tgt = R X_src + t; a
plane is n . X = d in the source camera's frame with d > 0; a homography maps target pixels to source pixels.
"""

from cnnfast.geometry.cameras import (
    axis_angle_to_matrix,
    intrinsics_from_corner_origin,
    intrinsics_from_normalized,
    invert_pose,
    pose_from_6dof,
    relative_pose,
    scale_intrinsics,
)
from cnnfast.geometry.homographies import (
    check_homographies,
    from_kornia_normalized,
    from_opencv,
    orient_homography,
    to_grid,
    transform_points,
)
from cnnfast.geometry.planes import (
    fronto_parallel_planes,
    plane_homography,
    plane_homography_from_scaled_normal,
    planes_from_depth,
)

__all__ = [
    "axis_angle_to_matrix",
    "check_homographies",
    "from_kornia_normalized",
    "from_opencv",
    "fronto_parallel_planes",
    "intrinsics_from_corner_origin",
    "intrinsics_from_normalized",
    "invert_pose",
    "orient_homography",
    "plane_homography",
    "plane_homography_from_scaled_normal",
    "planes_from_depth",
    "pose_from_6dof",
    "relative_pose",
    "scale_intrinsics",
    "to_grid",
    "transform_points",
]
