"""Texture synthesis: one evaluation of loss and gradient, and the time to a given loss, against a plain eager loop."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from benchmarks.case import Call, Case, Implementation
from benchmarks.measure import first_line, record, summarise
from benchmarks.style.plain import RELATIVE_FACTOR, PlainTextureLoss, PlainVGG, plain_synthesis
from benchmarks.style.vgg import random_vgg19, require_arithmetic, texture_work
from cnnfast.features.choice import TEXTURE_LAYERS, VGGFeatures
from cnnfast.models.style.picture.lbfgs import LBFGS
from cnnfast.models.style.picture.levels import RunProgress
from cnnfast.models.style.texture.objective import TextureObjective
from cnnfast.models.style.texture.presets import TEXTURE_PRESETS
from cnnfast.models.style.texture.synthesis import synthesize_texture
from cnnfast.weights import VGGWeights, auto_weights

STEP = "texture step, VGG-19 shapes"
SHORT_RUN = "texture loss of float32 and bfloat16 steps"
TIME_TO_LOSS = "time to the loss of the plain loop"


def picture(side: int, seed: int) -> Tensor:
    """Smooth random RGB picture [3,side,side]."""
    noise = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise, 5, 1, 2, count_include_pad=False)[0]


def our_network(
    weights: VGGWeights, padding: str = "zeros", dtype: torch.dtype = torch.float32, channels_last: bool = False
) -> VGGFeatures:
    """The feature network of texture synthesis."""
    compute_dtype = None if dtype is torch.float32 else dtype
    network = VGGFeatures(None, TEXTURE_LAYERS, "avg", padding, weights=weights, compute_dtype=compute_dtype)
    return network.to(memory_format=torch.channels_last) if channels_last else network


def objective(weights: VGGWeights, sample: Tensor, **options: Any) -> TextureObjective:
    """Our loss and gradient against a sample [3,h,w]; the options are those of `our_network`."""
    made = TextureObjective(our_network(weights, **options), dict.fromkeys(TEXTURE_LAYERS, 1.0))
    made.capture(sample)
    return made


def plain_step(weights: VGGWeights, sample: Tensor, image: Tensor) -> Call:
    """The plain loop's loss and gradient."""
    loss_of = PlainTextureLoss(PlainVGG(weights, TEXTURE_LAYERS).to(sample.dtype), sample[None])
    leaf = image[None].clone().requires_grad_()

    def call() -> tuple[Tensor, ...]:
        loss = loss_of(leaf)
        return loss, torch.autograd.grad(loss, leaf)[0][0]

    return call


def step_implementations(side: int) -> Iterator[Implementation]:
    """Ours in four forms and the plain loop; results are checked where a float64 step does not take minutes."""

    @functools.cache
    def inputs() -> tuple[VGGWeights, Tensor, Tensor]:
        return random_vgg19(), picture(side, 1), picture(side, 2)

    @functools.cache
    def expected() -> list[Tensor]:
        weights, sample, image = inputs()
        return [value.detach() for value in plain_step(weights, sample.double(), image.double())()]

    def ours(dtype: torch.dtype = torch.float32, channels_last: bool = False) -> Call:
        require_arithmetic(dtype)
        weights, sample, image = inputs()
        evaluate = objective(weights, sample, dtype=dtype, channels_last=channels_last)
        return lambda: evaluate(image)

    for name, build, tolerance in (
        ("cnnfast", ours, 1e-3),
        ("cnnfast channels_last", lambda: ours(channels_last=True), 1e-3),
        ("cnnfast bfloat16", lambda: ours(torch.bfloat16), 0.3),
        ("cnnfast bfloat16 channels_last", lambda: ours(torch.bfloat16, channels_last=True), 0.3),
        ("eager", lambda: plain_step(*inputs()), 1e-3),
    ):
        yield Implementation(name, build, tolerance, expected if side <= 128 else None)


def cases(device: str, quick: bool) -> Iterator[Case]:
    """The step at two sizes."""
    for side in (64,) if quick else (128, 512):
        made = functools.partial(step_implementations, side)
        yield Case(STEP, f"{side}x{side}", (3, side, side), texture_work(side, side), implementations=made)


def real_problem(side: int) -> tuple[VGGWeights, Tensor, Tensor]:
    """The weights that texture synthesis takes on this machine, a gravel sample, and a start of low contrast."""
    from skimage import data

    found = auto_weights()
    weights = random_vgg19() if found is None else found.load()
    grey = torch.from_numpy(data.gravel()[:side, :side].copy()).float() / 255
    sample = grey.expand(3, -1, -1).contiguous()
    noise = torch.randn(sample.shape, generator=torch.Generator().manual_seed(0))
    return weights, sample, sample.mean((1, 2), keepdim=True) + 0.02 * noise


def in_both_dtypes(run: Callable[[torch.dtype], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Results of ours in float32 and in bfloat16, or why there are none."""
    results = {}
    for name, dtype in (("cnnfast", torch.float32), ("cnnfast bfloat16", torch.bfloat16)):
        try:
            require_arithmetic(dtype)
        except ImportError as error:
            results[name] = {"status": "absent", "reason": first_line(error)}
        else:
            results[name] = run(dtype)
    return results


def short_run(roofline: Mapping[str, Any], side: int, steps: int) -> dict[str, Any]:
    """Loss, always evaluated in float32, of the pictures that float32 and bfloat16 steps arrive at."""
    weights, sample, start = real_problem(side)
    judge = objective(weights, sample)

    def run(dtype: torch.dtype) -> dict[str, Any]:
        optimizer = LBFGS(start, objective(weights, sample, dtype=dtype))
        started = time.perf_counter()
        for _ in range(steps):
            optimizer.step()
        seconds = time.perf_counter() - started
        loss = judge.relative(float(judge(optimizer.result)[0]))
        return {"status": "ok", "loss": loss, **asdict(summarise([seconds]))}

    results = in_both_dtypes(run)
    for result in results.values():
        if result["status"] == "ok":
            result["error"] = result["loss"] / results["cnnfast"]["loss"] - 1
            if result["error"] > 0.03:
                result |= {"status": "wrong", "reason": f"final loss {100 * result['error']:+.1f} %"}
    details = {"start_loss": judge.relative(float(judge(start)[0]))}
    return record(Case(SHORT_RUN, f"gravel {side}x{side}, {steps} steps", details=details), results, roofline)


class _ReachedError(Exception):
    """Ends a synthesis that has got where it should."""


def seconds_to_loss(
    sample: Tensor, weights: VGGWeights, wanted: float, *, dtype: torch.dtype, iterations: list[int]
) -> tuple[float | None, float]:
    """Seconds until our synthesis has a picture of full size with a relative loss, in float32, of at most `wanted`.

    Returns:
        The seconds, or None if it never got there, and the loss.
    """
    judge = objective(weights, sample, padding="reflect")
    network = our_network(weights, "reflect", dtype, channels_last=True)  # as `synthesize_texture` builds it itself
    judging, best, arrived = 0.0, float("inf"), 0.0
    started = time.perf_counter()

    def watch(progress: RunProgress) -> None:
        nonlocal judging, best, arrived
        if progress.level < progress.levels or progress.loss > 1.1 * wanted:
            return
        arrived = time.perf_counter() - started - judging
        paused = time.perf_counter()
        best = min(best, judge.relative(float(judge(progress.image())[0])))
        judging += time.perf_counter() - paused
        if best <= wanted:
            raise _ReachedError

    try:
        synthesize_texture(sample, extractor=network, iterations=iterations, match_histogram=False, callback=watch)
    except _ReachedError:
        return arrived, best
    return None, best


def time_to_loss(roofline: Mapping[str, Any], side: int, plain_iterations: int) -> dict[str, Any]:
    """A plain loop at full size first, then ours until it has the plain loop's loss."""
    weights, sample, start = real_problem(side)
    network = PlainVGG(weights, TEXTURE_LAYERS, "reflect")
    seconds, loss = plain_synthesis(PlainTextureLoss(network, sample[None]), start[None], plain_iterations)
    wanted = loss / RELATIVE_FACTOR
    levels, coarse = max(1, (side // 64).bit_length()), TEXTURE_PRESETS["fast"][0]

    def run(dtype: torch.dtype) -> dict[str, Any]:
        iterations = [coarse] * (levels - 1) + [plain_iterations]
        reached, best = seconds_to_loss(sample, weights, wanted, dtype=dtype, iterations=iterations)
        if reached is None:
            return {"status": "failed", "reason": f"ended at a relative loss of {best:.2e}", "loss": best}
        return {"status": "ok", "loss": best, **asdict(summarise([reached]))}

    results = in_both_dtypes(run)
    results["torch.optim.LBFGS, one scale"] = {"status": "ok", "loss": wanted, **asdict(summarise([seconds]))}
    details = {"weights": weights.source, "iterations": plain_iterations}
    label = f"gravel {side}x{side}, {plain_iterations} iterations"
    return record(Case(TIME_TO_LOSS, label, details=details), results, roofline)


def runs(roofline: Mapping[str, Any], quick: bool, text: str) -> Iterator[dict[str, Any]]:
    """Measure the short run, and the time to a loss."""
    if text in SHORT_RUN:
        yield short_run(roofline, *((64, 5) if quick else (256, 60)))
    if text in TIME_TO_LOSS:
        yield time_to_loss(roofline, *((64, 20) if quick else (512, 300)))
