"""How families are found, what they count, and that the parts they compare agree."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import families, machine, peers
from benchmarks.families import convolution, discs, distance, gram, lbfgs, texture_step
from benchmarks.measure import check, relative_error
from benchmarks.style import vgg
from benchmarks.style.plain import PlainTextureLoss, PlainVGG, plain_synthesis
from cnnfast import ops
from tests.benchmarks.vgg_weights import small_weights

SHAPE = (1, 6, 5, 7)


@pytest.mark.parametrize("operation", gram.OPERATIONS)
def test_gram_work(operation):
    c, m = 6, 35
    work = gram.Problem(operation, SHAPE, "float32", "contiguous").work
    forward = c * (c + 1) * m
    assert work.flops == forward + (0 if operation == gram.FORWARD else 2 * c * c * m)
    assert work.bytes == 4 * (c * m + c * c) + (0 if operation == gram.FORWARD else 4 * (2 * c * m + c * c))


@pytest.mark.parametrize("operation", gram.OPERATIONS)
def test_eager_needs_twice_the_work(operation):
    """The count of the eager steps by torch is twice ours, but for the diagonal."""
    bench = gram.Bench(gram.Problem(operation, SHAPE, "float32", "contiguous"))
    call = bench.composed(gram.eager_gram)
    with FlopCounterMode(display=False) as counter:
        call()
    c, m = 6, 35
    assert counter.get_total_flops() == (2 if operation == gram.FORWARD else 6) * c * c * m


@pytest.mark.parametrize("operation", gram.OPERATIONS)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16", "tf32"])
def test_gram_implementations_agree(operation, layout, dtype):
    if (operation, dtype) == (gram.LOSS, "float16"):
        pytest.skip("its gradient is too small for float16")
    bench = gram.Bench(gram.Problem(operation, (1, 8, 9, 11), dtype, layout))
    for call, tolerance in (
        (bench.ours(), gram.TOLERANCES[dtype]),
        (bench.composed(gram.eager_gram), gram.PEER_TOLERANCES[dtype]),
    ):
        assert relative_error(call(), bench.expected("hw")) <= tolerance


def test_problems_cover_the_announced_shapes():
    problems = gram.problems("cpu", quick=False)
    assert len(problems) == len(set(problems)) == 3 * (2 * len(gram.SHAPES) + 2)
    assert len(gram.problems("cpu", quick=True)) == 6
    on_a_gpu = gram.problems("cuda", quick=False)
    shapes = len(gram.SHAPES) + len(gram.SHAPES_1024)
    assert len(on_a_gpu) == len(set(on_a_gpu)) == 3 * (2 * shapes + 2 * len(gram.CUDA_DTYPES)) - 2
    assert {problem.dtype for problem in on_a_gpu} == {"float32", *gram.CUDA_DTYPES}
    assert sum(problem.is_searched for problem in on_a_gpu) == 2


def test_a_missing_peer_is_an_import_error():
    with pytest.raises(ImportError, match=r"no-such-package==1\.0 is not importable"):
        peers._module("no_such_module_at_all", "no-such-package", "1.0")
    with pytest.raises(ImportError, match=r"expected pytest==0\.0\.1, got "):
        peers._module("pytest", "pytest", "0.0.1")


def test_roofline_is_positive():
    assert machine.peak_flops("float32", seconds=0.01) > 1e8
    limits = machine.measure_roofline(("float32",))
    assert limits["bytes_per_s"] == max(limits["copy_bytes_per_s"], limits["read_bytes_per_s"]) > 1e8


def test_step_work_counts_the_convolutions():
    """The layers up to conv4_4 sum up to 92.25 GMAC at 512x512, once forward and once backward."""
    grams = sum(
        2 * (c * (c + 1) / 2 + c * c) * 512**2 / s for c, s in ((64, 1), (64, 4), (128, 16), (256, 64), (512, 256))
    )
    macs = (vgg.texture_work(512, 512).flops - grams) / 4
    assert macs == pytest.approx(92.25e9, rel=1e-3)


def test_style_work_counts_the_convolutions():
    """The layers up to conv5_1 sum up to 94.67 GMAC at 512x512, once forward and once backward."""
    shapes = ((64, 1), (128, 4), (256, 16), (512, 64), (512, 256))
    grams = sum(2 * (c * (c + 1) / 2 + c * c) * 512**2 / s for c, s in shapes)
    assert (vgg.style_work(512, 512).flops - grams) / 4 == pytest.approx(94.67e9, rel=1e-3)


def test_plain_loop_and_ours_are_the_same_function():
    weights = small_weights()
    sample, image = texture_step.picture(48, 1), texture_step.picture(48, 2)
    plain = texture_step.plain_step(weights, sample, image)()
    ours = texture_step.objective(weights, sample)(image)
    assert relative_error(ours, plain) < 1e-4


def test_plain_synthesis_lowers_the_loss():
    weights = small_weights()
    sample, image = texture_step.picture(32, 1)[None], texture_step.picture(32, 2)[None]
    loss_of = PlainTextureLoss(PlainVGG(weights, texture_step.TEXTURE_LAYERS), sample)
    seconds, loss = plain_synthesis(loss_of, image, 5)
    assert seconds > 0 and 0 < loss < float(loss_of(image))


def test_time_to_a_loss_stops_when_it_is_reached():
    weights = small_weights()
    sample = texture_step.picture(32, 1)
    options = {"dtype": torch.float32, "iterations": [10]}
    seconds, loss = texture_step.seconds_to_loss(sample, weights, 0.5, **options)
    assert seconds is not None and seconds > 0 and loss <= 0.5
    seconds, loss = texture_step.seconds_to_loss(sample, weights, 1e-12, **options)
    assert seconds is None and loss > 1e-12


@pytest.mark.parametrize("build", [lbfgs.ours, lbfgs.torch_optim])
def test_lbfgs_steps_make_progress(build):
    function = lbfgs.Quadratic(16)
    start = float(function(torch.zeros_like(function.centre))[0])
    call = build(function)
    for _ in range(10):
        (loss,) = call()
    assert float(loss) < 0.01 * start


def agree(case):
    """Compares all implementations with the expected results; only packages may be absent."""
    for implementation in case.implementations():
        if implementation.name == "torch.compile":
            continue  # takes long, and is the plain twin
        status = check(implementation).result["status"]
        assert status == "ok" or (status == "absent" and implementation.name not in ("cnnfast", "eager"))


@pytest.mark.parametrize("operation", distance.OPERATIONS)
def test_distance_implementations_agree(operation):
    agree(distance.Problem(operation, 3, 30, 41, 5).case())


def test_distance_work_counts_bytes():
    for operation, bytes_per_pixel in zip(distance.OPERATIONS, (2, 5, 2), strict=True):
        assert distance.Problem(operation, 3, 4, 5, 2).work.bytes == 60 * bytes_per_pixel
    assert len({case.name for case in families.cases("distance")}) == 12


@pytest.mark.parametrize("operation", discs.OPERATIONS)
def test_discs_implementations_agree(operation):
    agree(discs.Problem(operation, (2, 5, 17, 20), 9).case())


@pytest.mark.parametrize("backward", [False, True])
def test_convolution_implementations_agree(backward):
    agree(convolution.case(16, 12, backward))


def test_a_family_is_a_file():
    files = Path(families.__file__).parent.glob("[!_]*.py")
    assert families.names() == tuple(sorted(file.stem for file in files))
    operators = [file.stem for file in Path(ops.__file__).parent.glob("[!_]*.py")]
    assert set(operators) <= set(families.names_on("cpu")) & set(families.names_on("cuda"))


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("place", ["cpu", "cuda"])
def test_every_case_says_what_it_is(place, quick):
    """Listing cases and implementations allocates nothing, so that a machine without a GPU can list those of one."""
    for name in families.names_on(place):
        cases = families.cases(name, place, quick)
        assert len({case.name for case in cases}) == len(cases)
        if families.headline(name) and not quick:
            chosen = [case.group for case in cases if case.label == families.headline(name)]
            assert sorted(chosen) == sorted({case.group for case in cases})
        for case in cases:
            assert case.device == place and case.shape and case.work is not None
            names = [implementation.name for implementation in case.implementations()]
            assert names[0] == "cnnfast" and len(set(names)) == len(names) > 1


def test_opponents_on_a_gpu():
    """Eager PyTorch and torch.compile of every operator; packages where there are any."""
    for family, more in (("gram", "neural-style"), ("discs", "conv_transpose2d"), ("distance", "CuPy")):
        (headline, *_) = families.cases(family, "cuda")
        names = {implementation.name for implementation in headline.implementations()}
        assert {"cnnfast", "eager", "torch.compile", more} <= names and not {"edt", "scipy"} & names
