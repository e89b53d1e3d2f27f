"""Truncated distance transforms against the packages that people loop over masks with, and the plain twin."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.case import Call, Case, Implementation, Work
from benchmarks.peers import compiled
from cnnfast import ops, reference

DEVICES = ("cpu", "cuda")
TRANSFORM = "truncated_distance_transform"
LABELS = "truncated_distance_transform of label maps"
BINS = "mask_to_bins, K = 5"
OPERATIONS = (TRANSFORM, LABELS, BINS)
SHAPES = ((256, 28, 28, 5), (64, 112, 112, 9), (8, 512, 512, 10), (1, 2048, 2048, 10))
HEADLINE = "8x512x512, R = 10"
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
    device: str = "cpu"

    def case(self) -> Case:
        """The case of this problem."""
        shape = (self.planes, self.height, self.width)
        return Case(
            self.operation,
            f"{'x'.join(map(str, shape))}, R = {self.radius}",
            shape,
            self.work,
            device=self.device,
            implementations=lambda: Bench(self).implementations(),
        )

    @property
    def work(self) -> Work:
        """Every pixel is read once, a byte (a label map: 4), and written once, a byte. No floating-point operations."""
        pixels = self.planes * self.height * self.width
        return Work(0, pixels * (5 if self.operation == LABELS else 2))

    @property
    def is_compiled(self) -> bool:
        """Whether there is time for torch.compile."""
        is_first = (self.planes, self.height, self.width, self.radius) == SHAPES[0]
        return is_first and (self.device == "cpu" or self.operation == TRANSFORM)

    def masks(self) -> Tensor:
        """Round shapes of about a tenth of a plane's side; a label map has one label per square they lie in."""
        generator = torch.Generator().manual_seed(0)
        cell = max(self.height // 10, 4)
        coarse = torch.randn((self.planes, 1, self.height // cell + 2, self.width // cell + 2), generator=generator)
        smooth = torch.nn.functional.interpolate(coarse, scale_factor=cell, mode="bicubic")
        mask = smooth[:, 0, : self.height, : self.width] > 0
        if self.operation != LABELS:
            return mask.to(self.device)
        rows, columns = torch.arange(self.height) // (2 * cell), torch.arange(self.width) // (2 * cell)
        labels = 1 + rows[:, None] * (self.width // cell + 1) + columns
        return torch.where(mask, labels, 0).to(self.device, torch.int32)


class Bench:
    """Everything that is called for one problem; tensors are made when they are first asked for."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.has_labels = problem.operation == LABELS

    @functools.cached_property
    def mask(self) -> Tensor:
        """See `Problem.masks`."""
        return self.problem.masks()

    @functools.cached_property
    def squares(self) -> Tensor:
        """Squared distances of the twin as far as twice the radius; tests compare the twin with all pairs of pixels."""
        radius = 2 * self.problem.radius
        return reference.truncated_distance_transform(
            self.mask, radius, labels=self.has_labels, output="squared"
        ).double()

    def bins(self) -> list[Tensor]:
        """What ours must return."""
        distances = self.squares.sqrt().ceil().clamp(max=self.problem.radius)
        return [(distances * 5 / self.problem.radius).ceil() if self.problem.operation == BINS else distances]

    def distances(self) -> list[Tensor]:
        """What the packages return, as far as twice the radius."""
        return [self.squares.sqrt()]

    def implementations(self) -> Iterator[Implementation]:
        """Ours, the plain twin, then the packages, which give distances as real numbers and without an end."""
        yield Implementation("cnnfast", lambda: self._call(ops), 0.0, self.bins)
        yield Implementation("eager", lambda: self._call(reference), 0.0, self.bins)
        yield Implementation("torch.compile", self._compiled, 0.0, self.bins)
        for name, build in self._packages().items():
            yield Implementation(name, build, ROUNDING, self.distances)
        if self.problem.device == "cpu" and not self.has_labels:
            # Wrong by up to two percent, and shown because it is what OpenCV does by default.
            yield Implementation("OpenCV 5x5, inexact", lambda: self._opencv("DIST_MASK_5"))

    def _packages(self) -> dict[str, Callable[[], Call]]:
        """Packages for the device; of those for masks only edt takes label maps."""
        if self.problem.device == "cuda":
            return {} if self.has_labels else {"CuPy": self._cupy}
        packages: dict[str, Callable[[], Call]] = {"edt": self._edt}
        if not self.has_labels:
            packages |= {"OpenCV precise": lambda: self._opencv("DIST_MASK_PRECISE"), "scipy": self._scipy}
        return packages

    def _call(self, module: Any, wrap: Callable[[Callable[[Tensor], Tensor]], Any] = lambda function: function) -> Call:
        radius = self.problem.radius

        def function(mask: Tensor) -> Tensor:
            if self.problem.operation == BINS:
                return module.mask_to_bins(mask, radius, 5)
            return module.truncated_distance_transform(mask, radius, labels=self.has_labels)

        wrapped = wrap(function)
        return lambda: (wrapped(self.mask),)

    def _compiled(self) -> Call:
        if not self.problem.is_compiled:
            raise ImportError("the twin's loops take a minute to compile: done at the first shape, on a GPU once")
        return self._call(reference, compiled)

    def _loop(self, transform: Callable[[Any], Any], arrays: Sequence[Any]) -> Call:
        """One plane after the other; results are cut off and stacked in the first call alone, which is checked."""
        limit, is_checked = 2.0 * self.problem.radius, False

        def call() -> tuple[Tensor, ...]:
            nonlocal is_checked
            found = [transform(array) for array in arrays]
            if is_checked:
                return ()
            is_checked = True
            return (torch.stack([torch.as_tensor(plane, device=self.mask.device) for plane in found]).clamp(max=limit),)

        return call

    def _arrays(self, dtype: Any = None) -> list[np.ndarray]:
        return [np.ascontiguousarray(plane, dtype=dtype) for plane in self.mask.numpy()]

    def _scipy(self) -> Call:
        from scipy.ndimage import distance_transform_edt

        return self._loop(distance_transform_edt, self._arrays())

    def _edt(self) -> Call:
        from edt import edt

        threads = torch.get_num_threads()
        return self._loop(lambda array: edt(array, parallel=threads), self._arrays())

    def _opencv(self, mask_size: str) -> Call:
        import cv2

        cv2.setNumThreads(torch.get_num_threads())
        size = getattr(cv2, mask_size)
        return self._loop(lambda array: cv2.distanceTransform(array, cv2.DIST_L2, size), self._arrays(np.uint8))

    def _cupy(self) -> Call:
        import cupy
        from cupyx.scipy.ndimage import distance_transform_edt

        # On PyTorch's stream, so that PyTorch reads the results after they are written.
        cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream).use()
        return self._loop(distance_transform_edt, [cupy.asarray(plane) for plane in self.mask.byte()])


def cases(device: str, quick: bool) -> Iterator[Case]:
    """All operations at all shapes."""
    for operation in OPERATIONS:
        for shape in ((16, 28, 28, 5),) if quick else SHAPES:
            yield Problem(operation, *shape, device).case()
