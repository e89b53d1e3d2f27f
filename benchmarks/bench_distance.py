"""Truncated distance transforms against the packages that people loop over masks with, and the plain twin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import Call, Case, Effort, Implementation, Work, measure
from cnnfast import ops, reference

TRANSFORM = "truncated_distance_transform"
LABELS = "truncated_distance_transform of label maps"
BINS = "mask_to_bins, K = 5"
OPERATIONS = (TRANSFORM, LABELS, BINS)
SHAPES = ((256, 28, 28, 5), (64, 112, 112, 9), (8, 512, 512, 10), (1, 2048, 2048, 10))
ROUNDING = 1e-6
"""Relative error that distances in float32 may have."""


@dataclass(frozen=True)
class Problem:
    """One operation on planes [P,H,W]."""

    operation: str
    planes: int
    height: int
    width: int
    radius: int

    @property
    def label(self) -> str:
        """Row of the tables."""
        return f"{self.planes}x{self.height}x{self.width}, R = {self.radius}"

    @property
    def work(self) -> Work:
        """Every pixel is read once, a byte (a label map: 4), and written once, a byte. No floating-point operations."""
        pixels = self.planes * self.height * self.width
        return Work(0, pixels * (5 if self.operation == LABELS else 2))

    def masks(self) -> Tensor:
        """Round shapes of about a tenth of a plane's side; a label map has one label per square they lie in."""
        generator = torch.Generator().manual_seed(0)
        cell = max(self.height // 10, 4)
        coarse = torch.randn((self.planes, 1, self.height // cell + 2, self.width // cell + 2), generator=generator)
        smooth = torch.nn.functional.interpolate(coarse, scale_factor=cell, mode="bicubic")
        mask = smooth[:, 0, : self.height, : self.width] > 0
        if self.operation != LABELS:
            return mask
        rows, columns = torch.arange(self.height) // (2 * cell), torch.arange(self.width) // (2 * cell)
        return torch.where(mask, 1 + rows[:, None] * (self.width // cell + 1) + columns, 0).to(torch.int32)


class Bench:
    """Everything that is called for one problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.mask = problem.masks()
        self.arrays = [np.ascontiguousarray(plane) for plane in self.mask.numpy()]
        self._squares: Tensor | None = None

    def squares(self) -> Tensor:
        """Squared distances of the twin, which the tests hold against all pairs of pixels."""
        if self._squares is None:
            radius = 2 * self.problem.radius
            self._squares = reference.truncated_distance_transform(
                self.mask, radius, labels=self.problem.operation == LABELS, output="squared"
            ).double()
        return self._squares

    def bins(self) -> list[Tensor]:
        """What ours must return."""
        distances = self.squares().sqrt().ceil().clamp(max=self.problem.radius)
        return [(distances * 5 / self.problem.radius).ceil() if self.problem.operation == BINS else distances]

    def distances(self) -> list[Tensor]:
        """What the packages return, as far as twice the radius."""
        return [self.squares().sqrt()]

    def implementations(self) -> Iterator[Implementation]:
        """Ours, the plain twin, then the packages, which give distances as real numbers and without an end."""
        yield Implementation("cnnfast", lambda: self._call(ops), 0.0, self.bins)
        yield Implementation("eager", lambda: self._call(reference), 0.0, self.bins)
        for name, build in self._packages():
            yield Implementation(name, build, ROUNDING, self.distances)
        if self.problem.operation != LABELS:
            # Wrong by up to two percent, and shown because it is what OpenCV does by default.
            yield Implementation("OpenCV 5x5, inexact", lambda: self._opencv("DIST_MASK_5"))

    def _packages(self) -> Iterator[tuple[str, Callable[[], Call]]]:
        yield "edt", self._edt
        if self.problem.operation != LABELS:
            yield "OpenCV precise", lambda: self._opencv("DIST_MASK_PRECISE")
            yield "scipy", self._scipy

    def _call(self, module: Any) -> Call:
        radius = self.problem.radius
        if self.problem.operation == BINS:
            return lambda: (module.mask_to_bins(self.mask, radius, 5),)
        labels = self.problem.operation == LABELS
        return lambda: (module.truncated_distance_transform(self.mask, radius, labels=labels),)

    def _loop(self, transform: Callable[[np.ndarray], np.ndarray], arrays: list[np.ndarray]) -> Call:
        """One plane after the other; the result is cut off only once, when it is checked."""
        limit, is_checked = 2.0 * self.problem.radius, False

        def call() -> tuple[Tensor, ...]:
            nonlocal is_checked
            found = [transform(array) for array in arrays]
            if is_checked:
                return ()
            is_checked = True
            return (torch.from_numpy(np.minimum(np.stack(found), limit)),)

        return call

    def _scipy(self) -> Call:
        from scipy.ndimage import distance_transform_edt

        return self._loop(distance_transform_edt, self.arrays)

    def _edt(self) -> Call:
        from edt import edt

        threads = torch.get_num_threads()
        return self._loop(lambda array: edt(array, parallel=threads), self.arrays)

    def _opencv(self, mask_size: str) -> Call:
        import cv2

        cv2.setNumThreads(torch.get_num_threads())
        size = getattr(cv2, mask_size)
        arrays = [array.astype(np.uint8) for array in self.arrays]
        return self._loop(lambda array: cv2.distanceTransform(array, cv2.DIST_L2, size), arrays)


def problems(quick: bool) -> list[Problem]:
    """All operations at all shapes."""
    if quick:
        return [Problem(operation, 16, 28, 28, 5) for operation in OPERATIONS]
    return [Problem(operation, *shape) for operation in OPERATIONS for shape in SHAPES]


def run(
    roofline: Mapping[str, Any], effort: Effort, *, quick: bool = False, cases: str = "", device: str = "cpu"
) -> Iterator[dict[str, Any]]:
    """Measure all problems whose group and label contain a text."""
    for problem in problems(quick):
        if cases not in f"{problem.operation} {problem.label}":
            continue
        case = Case(problem.operation, problem.label, problem.work)
        yield measure(case, list(Bench(problem).implementations()), roofline, effort)
