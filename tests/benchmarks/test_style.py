"""The programs of the style suite minimise the same function, and are timed and measured one iteration at a time."""

from __future__ import annotations

import functools
import importlib.util
import itertools

import pytest
import torch

from benchmarks import peers
from benchmarks.families import style, style_levers
from benchmarks.style import levers, programs
from benchmarks.style.processes import Paced, as_result, resident, take_turns
from benchmarks.style.programs import Problem, our_network, our_objective
from cnnfast.images import load_image
from cnnfast.weights import load_vgg
from tests.benchmarks.vgg_weights import small_weights

pytest.importorskip("skimage")


@pytest.fixture
def problem(tmp_path):
    return programs.write_problem(tmp_path, 64, 6, small_weights())


@pytest.fixture
def objective(problem):
    return our_objective(our_network(small_weights()), load_image(problem.content), load_image(problem.style))


class _EnoughError(Exception):
    pass


def losses_and_pictures(program, problem, count):
    """What a program tells after each of its first iterations."""
    seen = []

    def after(picture, loss):
        seen.append((loss, picture().clone()))
        if len(seen) == count:
            raise _EnoughError

    with pytest.raises(_EnoughError):
        program(problem, after)
    return seen


def test_weights_survive_their_file(problem):
    loaded = load_vgg(problem.weights, "caffe")
    assert loaded.arch == "vgg19"
    for name, (weight, bias) in small_weights().state.items():
        assert torch.equal(loaded.state[name][0], weight) and torch.equal(loaded.state[name][1], bias)


def test_pastiche_minimises_a_hundredth(problem, objective):
    pytest.importorskip("pastiche")
    seen = losses_and_pictures(programs.run_pastiche, problem, 3)
    at_content = float(objective(load_image(problem.content))[0])
    # Its loss is that of the picture before the step.
    assert 100 * seen[0][0] == pytest.approx(at_content, rel=1e-4)
    for (_, picture), (loss, _) in itertools.pairwise(seen):
        assert 100 * loss == pytest.approx(float(objective(picture)[0]), rel=1e-3)
    assert seen[-1][0] < seen[0][0]


def test_neural_style_minimises_the_same(problem, objective, monkeypatch):
    pytest.importorskip("neural_style")
    package = peers.neural_style_package()
    loader = pytest.importorskip("neural_style.loader.CaffeLoader")
    narrow = [4 if isinstance(width, int) else width for width in loader.channel_list["VGG-19"]]
    monkeypatch.setitem(loader.channel_list, "VGG-19", narrow)
    before = dict(vars(package.params))
    seen = losses_and_pictures(programs.run_neural_style, problem, 3)
    assert vars(package.params) == before
    assert torch.equal(seen[0][1].mul(255).round(), load_image(problem.content).mul(255).round())
    for loss, picture in seen:
        # It takes pictures in 0..256.
        assert loss == pytest.approx(float(objective(picture)[0]), rel=0.05)
    assert seen[-1][0] < seen[0][0]


def test_ours_tells_relative_losses(problem, objective):
    seen = losses_and_pictures(programs.run_cnnfast, problem, 3)
    for loss, picture in seen:
        assert loss == pytest.approx(objective.relative(float(objective(picture)[0])), rel=1e-4)


def test_levers_do_not_change_the_loss(problem, objective):
    content, style = load_image(problem.content), load_image(problem.style)
    expected = float(objective(content)[0])
    for count in range(6):
        evaluation = levers.plain_evaluation if count <= 3 else levers.our_evaluation
        assert float(evaluation(small_weights(), content, style, count)()) == pytest.approx(expected, rel=1e-4)


def test_programs_take_turns_in_processes_of_their_own(problem):
    evaluations = functools.partial(levers.run_evaluations, problem, 3)
    with Paced(evaluations) as first, Paced(evaluations) as second:
        take_turns([first, second], 2)
        assert len(first.seconds) == len(second.seconds) == 3 and min(first.seconds) > 0
        assert torch.equal(first.picture(), load_image(problem.content))
        result = as_result(first, first.seconds[1:])
        while second.step():
            pass
        assert len(second.seconds) == problem.iterations and second.outcome.status == "ok"
    assert result["status"] == "ok" and result["samples"] == 2
    assert 0 < result["start_bytes"] < result["loop_peak_bytes"] <= result["peak_bytes"]
    assert resident("VmRSS") <= resident()


def test_a_program_that_fails_is_a_result(problem):
    with Paced(functools.partial(programs.run_cnnfast, Problem(problem.folder / "none", 64, 1))) as program:
        result = as_result(program, program.seconds)
    assert result["status"] == "failed" and "vgg19.pth" in result["reason"]


def test_time_to_losses(problem):
    judge = style.Judge(small_weights(), problem)
    start = judge(load_image(problem.content))
    program = functools.partial(programs.run_cnnfast, problem)
    early, late, never = style.run_to_losses(program, judge, [0.9 * start, 0.5 * start, 1e-9])
    assert early["loss"] <= 0.9 * start and late["loss"] <= 0.5 * start
    assert 0 < early["median_s"] <= late["median_s"]
    assert never["status"] == "failed" and "ended at a relative loss of" in never["reason"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "group"),
    [
        (style, style.ITERATION),
        (style, style.TIME_TO_LOSS),
        (style_levers, style_levers.LOOP),
        (style_levers, style_levers.TILES),
    ],
)
def test_suites_in_small(monkeypatch, suite, group):
    monkeypatch.setattr(suite, "find_vgg19", lambda: (small_weights(), "small weights"))
    limits = {"flops_per_s": {"float32": 1e11}, "bytes_per_s": 1e10}
    cases = list(suite.runs(limits, True, group))
    assert cases or not importlib.util.find_spec("pastiche")
    for case in cases:
        assert case["group"] == group
        assert case["results"]["cnnfast"]["status"] in ("ok", "failed" if group == style_levers.LOOP else "ok")
