"""What the suites count, and that the parts they compare agree."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import bench_distance, bench_gram, bench_lbfgs, bench_texture_step, peers, roofline, vgg_work
from benchmarks.common import relative_error
from benchmarks.plain_texture import PlainTextureLoss, PlainVGG, plain_synthesis

SHAPE = (1, 6, 5, 7)


@pytest.mark.parametrize("operation", bench_gram.OPERATIONS)
def test_gram_work(operation):
    c, m = 6, 35
    work = bench_gram.Problem(operation, SHAPE, "float32", "contiguous").work
    forward = c * (c + 1) * m
    assert work.flops == forward + (0 if operation == bench_gram.FORWARD else 2 * c * c * m)
    assert work.bytes == 4 * (c * m + c * c) * 1 + (0 if operation == bench_gram.FORWARD else 4 * (2 * c * m + c * c))


@pytest.mark.parametrize("operation", bench_gram.OPERATIONS)
def test_eager_needs_twice_the_work(operation):
    """The count of the eager steps by torch is twice ours, but for the diagonal."""
    bench = bench_gram.Bench(bench_gram.Problem(operation, SHAPE, "float32", "contiguous"))
    call = bench._composed(bench_gram.eager_gram)
    with FlopCounterMode(display=False) as counter:
        call()
    c, m = 6, 35
    assert counter.get_total_flops() == (2 if operation == bench_gram.FORWARD else 6) * c * c * m


@pytest.mark.parametrize("operation", bench_gram.OPERATIONS)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16", "tf32"])
def test_gram_implementations_agree(operation, layout, dtype):
    if (operation, dtype) == (bench_gram.LOSS, "float16"):
        pytest.skip("its gradient is too small for float16")
    bench = bench_gram.Bench(bench_gram.Problem(operation, (1, 8, 9, 11), dtype, layout))
    for call, tolerance in (
        (bench._ours(bench.x), bench_gram.TOLERANCES[dtype]),
        (bench._composed(bench_gram.eager_gram), bench_gram.PEER_TOLERANCES[dtype]),
    ):
        assert relative_error(call(), bench.expected("hw")) <= tolerance


def test_problems_cover_the_announced_shapes():
    problems = bench_gram.problems(quick=False)
    assert len(problems) == len(set(problems)) == 3 * (2 * len(bench_gram.SHAPES) + 2)
    assert len(bench_gram.problems(quick=True)) == 6
    on_a_gpu = bench_gram.problems(quick=False, device="cuda")
    shapes = len(bench_gram.SHAPES) + len(bench_gram.SHAPES_1024)
    assert len(on_a_gpu) == len(set(on_a_gpu)) == 3 * (2 * shapes + 2 * len(bench_gram.CUDA_DTYPES)) - 2
    assert {problem.dtype for problem in on_a_gpu} == {"float32", *bench_gram.CUDA_DTYPES}
    assert sum(problem.is_searched for problem in on_a_gpu) == 2


def test_a_missing_peer_is_an_import_error():
    with pytest.raises(ImportError, match=r"no-such-package==1\.0 is not importable"):
        peers._module("no_such_module_at_all", "no-such-package", "1.0")
    with pytest.raises(ImportError, match=r"expected pytest==0\.0\.1, got "):
        peers._module("pytest", "pytest", "0.0.1")


def test_roofline_is_positive():
    assert roofline.peak_flops("float32", seconds=0.01) > 1e8
    limits = roofline.measure_roofline(("float32",))
    assert limits["bytes_per_s"] == max(limits["copy_bytes_per_s"], limits["read_bytes_per_s"]) > 1e8


def test_step_work_counts_the_convolutions():
    """The layers up to conv4_4 sum up to 92.25 GMAC at 512x512, once forward and once backward."""
    grams = sum(
        2 * (c * (c + 1) / 2 + c * c) * 512**2 / s for c, s in ((64, 1), (64, 4), (128, 16), (256, 64), (512, 256))
    )
    macs = (vgg_work.texture_work(512, 512).flops - grams) / 4
    assert macs == pytest.approx(92.25e9, rel=1e-3)


def test_style_work_counts_the_convolutions():
    """The layers up to conv5_1 sum up to 94.67 GMAC at 512x512, once forward and once backward."""
    shapes = ((64, 1), (128, 4), (256, 16), (512, 64), (512, 256))
    grams = sum(2 * (c * (c + 1) / 2 + c * c) * 512**2 / s for c, s in shapes)
    assert (vgg_work.style_work(512, 512).flops - grams) / 4 == pytest.approx(94.67e9, rel=1e-3)


def small_weights():
    generator = torch.Generator().manual_seed(0)
    state, width = {}, 3
    for name in bench_texture_step.vgg_convolution_names("vgg19"):
        state[name] = (torch.randn(4, width, 3, 3, generator=generator) * 0.3, torch.zeros(4))
        width = 4
    return bench_texture_step.VGGWeights("vgg19", state, "caffe")


def test_plain_loop_and_ours_are_the_same_function():
    weights = small_weights()
    sample, image = bench_texture_step.picture(48, 1), bench_texture_step.picture(48, 2)
    plain = bench_texture_step.plain_step(weights, sample, image)()
    ours = bench_texture_step.objective(weights, sample)(image)
    assert relative_error(ours, plain) < 1e-4


def test_plain_synthesis_lowers_the_loss():
    weights = small_weights()
    sample, image = bench_texture_step.picture(32, 1)[None], bench_texture_step.picture(32, 2)[None]
    loss_of = PlainTextureLoss(PlainVGG(weights, bench_texture_step.TEXTURE_LAYERS), sample)
    seconds, loss = plain_synthesis(loss_of, image, 5)
    assert seconds > 0 and 0 < loss < float(loss_of(image))


def test_time_to_a_loss_stops_when_it_is_reached():
    weights = small_weights()
    sample = bench_texture_step.picture(32, 1)
    options = {"bfloat16": False, "iterations": [10]}
    seconds, loss = bench_texture_step.seconds_to_loss(sample, weights, 0.5, **options)
    assert seconds is not None and seconds > 0 and loss <= 0.5
    seconds, loss = bench_texture_step.seconds_to_loss(sample, weights, 1e-12, **options)
    assert seconds is None and loss > 1e-12


@pytest.mark.parametrize("build", [bench_lbfgs.ours, bench_lbfgs.torch_optim])
def test_lbfgs_steps_make_progress(build):
    function = bench_lbfgs.Quadratic(16)
    start = float(function(torch.zeros_like(function.centre))[0])
    call = build(function)
    for _ in range(10):
        (loss,) = call()
    assert float(loss) < 0.01 * start


@pytest.mark.parametrize("operation", bench_distance.OPERATIONS)
def test_distance_implementations_agree(operation):
    problem = bench_distance.Problem(operation, 3, 30, 41, 5)
    for implementation in bench_distance.Bench(problem).implementations():
        if implementation.expected is None:
            continue
        try:
            call = implementation.build()
        except ImportError:
            assert implementation.name not in ("cnnfast", "eager")
            continue
        assert relative_error(call(), implementation.expected()) <= implementation.tolerance


def test_distance_work_counts_bytes():
    for operation, bytes_per_pixel in zip(bench_distance.OPERATIONS, (2, 5, 2), strict=True):
        assert bench_distance.Problem(operation, 3, 4, 5, 2).work.bytes == 60 * bytes_per_pixel
    assert len(set(bench_distance.problems(quick=False))) == 12
