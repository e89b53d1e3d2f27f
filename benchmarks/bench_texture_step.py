"""Texture synthesis: one evaluation of loss and gradient, and the time to a given loss, against a plain eager loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import Call, Case, Effort, Implementation, measure, record
from benchmarks.plain_texture import RELATIVE_FACTOR, PlainTextureLoss, PlainVGG, plain_synthesis
from benchmarks.vgg_work import WIDTHS, texture_work
from cnnfast._extension import fast_dtype
from cnnfast.features.choice import TEXTURE_LAYERS, VGGFeatures
from cnnfast.models.style.picture.lbfgs import LBFGS
from cnnfast.models.style.picture.levels import RunProgress
from cnnfast.models.style.texture.objective import TextureObjective
from cnnfast.models.style.texture.presets import TEXTURE_PRESETS
from cnnfast.models.style.texture.synthesis import synthesize_texture
from cnnfast.weights import VGGWeights, auto_weights, vgg_convolution_names

STEP = "texture step, VGG-19 shapes"
SHORT_RUN = "texture loss of float32 and bfloat16 steps"
TIME_TO_LOSS = "time to the loss of the plain loop"


def random_vgg19() -> VGGWeights:
    """VGG-19 with random filters that keep the size of activations."""
    generator = torch.Generator().manual_seed(0)
    state, width = {}, 3
    for name in vgg_convolution_names("vgg19"):
        out = WIDTHS[name[4]]
        weight = torch.randn(out, width, 3, 3, generator=generator) * (2 / (9 * width)) ** 0.5
        state[name], width = (weight, torch.zeros(out)), out
    return VGGWeights("vgg19", state, "torchvision")


def picture(side: int, seed: int) -> Tensor:
    """Smooth random RGB picture [3,side,side]."""
    noise = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise, 5, 1, 2, count_include_pad=False)[0]


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware."""
    return fast_dtype(torch.device("cpu")) is torch.bfloat16


def objective(
    weights: VGGWeights, sample: Tensor, *, padding: str = "zeros", bfloat16: bool = False, channels_last: bool = False
) -> TextureObjective:
    """Our loss and gradient against a sample [3,h,w]."""
    network = VGGFeatures(
        None,
        TEXTURE_LAYERS,
        "avg",
        padding,
        weights=weights,
        compute_dtype=torch.bfloat16 if bfloat16 else None,
    )
    if channels_last:
        network.to(memory_format=torch.channels_last)
    made = TextureObjective(network, dict.fromkeys(TEXTURE_LAYERS, 1.0))
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


def step_implementations(weights: VGGWeights, sample: Tensor, image: Tensor, check: bool) -> Iterator[Implementation]:
    """Ours in three forms and the plain loop; results are checked where a float64 step takes no minutes."""
    expected = plain_step(weights, sample.double(), image.double()) if check else None

    def ours(**options: Any) -> Callable[[], Call]:
        def build() -> Call:
            if options.get("bfloat16") and not has_bfloat16():
                raise ImportError("this CPU has no bfloat16 arithmetic")
            evaluate = objective(weights, sample, **options)
            return lambda: evaluate(image)

        return build

    for name, build, tolerance in (
        ("cnnfast", ours(), 1e-3),
        ("cnnfast channels_last", ours(channels_last=True), 1e-3),
        ("cnnfast bfloat16", ours(bfloat16=True), 0.3),
        ("cnnfast bfloat16 channels_last", ours(bfloat16=True, channels_last=True), 0.3),
        ("eager", lambda: plain_step(weights, sample, image), 1e-3),
    ):
        yield Implementation(name, build, tolerance, expected)


def real_problem(side: int) -> tuple[VGGWeights, Tensor, Tensor]:
    """The weights that texture synthesis takes on this machine, a gravel sample, and a start of low contrast."""
    from skimage import data

    found = auto_weights()
    weights = random_vgg19() if found is None else found.load()
    grey = torch.from_numpy(data.gravel()[:side, :side].copy()).float() / 255
    sample = grey.expand(3, -1, -1).contiguous()
    noise = torch.randn(sample.shape, generator=torch.Generator().manual_seed(0))
    return weights, sample, sample.mean((1, 2), keepdim=True) + 0.02 * noise


def short_run(roofline: Mapping[str, Any], side: int, steps: int) -> dict[str, Any]:
    """Loss, always evaluated in float32, of the pictures that float32 and bfloat16 steps arrive at."""
    weights, sample, start = real_problem(side)
    judge = objective(weights, sample)
    results: dict[str, dict[str, Any]] = {}
    for name, bfloat16 in (("cnnfast", False), ("cnnfast bfloat16", True)):
        if bfloat16 and not has_bfloat16():
            results[name] = {"status": "absent", "reason": "this CPU has no bfloat16 arithmetic"}
            continue
        optimizer = LBFGS(start, objective(weights, sample, bfloat16=bfloat16))
        started = time.perf_counter()
        for _ in range(steps):
            optimizer.step()
        seconds = time.perf_counter() - started
        loss = judge.relative(float(judge(optimizer.result)[0]))
        results[name] = {"status": "ok", "loss": loss, **_once(seconds)}
        results[name]["error"] = loss / results["cnnfast"]["loss"] - 1
        if results[name]["error"] > 0.03:
            results[name] |= {"status": "wrong", "reason": f"final loss {100 * results[name]['error']:+.1f} %"}
    details = {"start_loss": judge.relative(float(judge(start)[0]))}
    return record(Case(SHORT_RUN, f"gravel {side}x{side}, {steps} steps", details=details), results, roofline)


def _once(seconds: float) -> dict[str, Any]:
    return {"median_s": seconds, "q1_s": seconds, "q3_s": seconds, "samples": 1}


class _ReachedError(Exception):
    """Ends a synthesis that has got where it should."""


def seconds_to_loss(
    sample: Tensor, weights: VGGWeights, wanted: float, *, bfloat16: bool, iterations: list[int]
) -> tuple[float | None, float]:
    """Seconds until our synthesis has a picture of full size with a relative loss, in float32, of at most `wanted`.

    Returns:
        The seconds, or None if it never got there, and the loss.
    """
    judge = objective(weights, sample, padding="reflect")
    network = VGGFeatures(
        None, TEXTURE_LAYERS, "avg", "reflect", weights=weights, compute_dtype=torch.bfloat16 if bfloat16 else None
    ).to(memory_format=torch.channels_last)  # as the networks that synthesize_texture builds itself
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
    results: dict[str, dict[str, Any]] = {}
    levels, coarse = max(1, (side // 64).bit_length()), TEXTURE_PRESETS["fast"][0]
    for name, bfloat16 in (("cnnfast", False), ("cnnfast bfloat16", True)):
        if bfloat16 and not has_bfloat16():
            results[name] = {"status": "absent", "reason": "this CPU has no bfloat16 arithmetic"}
            continue
        iterations = [coarse] * (levels - 1) + [plain_iterations]
        reached, best = seconds_to_loss(sample, weights, wanted, bfloat16=bfloat16, iterations=iterations)
        if reached is None:
            results[name] = {"status": "failed", "reason": f"ended at a relative loss of {best:.2e}", "loss": best}
        else:
            results[name] = {"status": "ok", "loss": best, **_once(reached)}
    results["torch.optim.LBFGS, one scale"] = {"status": "ok", "loss": wanted, **_once(seconds)}
    details = {"weights": weights.source, "iterations": plain_iterations}
    label = f"gravel {side}x{side}, {plain_iterations} iterations"
    return record(Case(TIME_TO_LOSS, label, details=details), results, roofline)


def run(
    roofline: Mapping[str, Any], effort: Effort, *, quick: bool = False, cases: str = ""
) -> Iterator[dict[str, Any]]:
    """Measure the step at two sizes, the short run, and the time to a loss."""
    for side in (64,) if quick else (128, 512):
        if cases in f"{STEP} {side}":
            weights, sample, image = random_vgg19(), picture(side, 1), picture(side, 2)
            implementations = list(step_implementations(weights, sample, image, check=side <= 128))
            case = Case(STEP, f"{side}x{side}", texture_work(side, side))
            yield measure(case, implementations, roofline, effort)
    if cases in SHORT_RUN:
        yield short_run(roofline, *((64, 5) if quick else (256, 60)))
    if cases in TIME_TO_LOSS:
        yield time_to_loss(roofline, *((64, 20) if quick else (512, 300)))
