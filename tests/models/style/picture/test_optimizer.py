"""Optimisers: convergence, bounds, resume, recovery from non-finite values."""

import io
import itertools
import math

import pytest
import torch

from cnnfast.models.style.picture.adam import Adam
from cnnfast.models.style.picture.lbfgs import LBFGS


def rosenbrock(x):
    z = x.detach().requires_grad_(True)
    loss = (100 * (z[1:] - z[:-1] ** 2) ** 2 + (1 - z[:-1]) ** 2).sum()
    return loss.detach(), torch.autograd.grad(loss, z)[0]


def quadratic(n, condition, seed=0):
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))
    matrix = basis * torch.logspace(0, math.log10(condition), n, dtype=torch.float64) @ basis.T
    matrix = (matrix + matrix.T) / 2
    centre = torch.randn(n, generator=generator, dtype=torch.float64)

    def evaluate(x):
        d = x - centre
        return 0.5 * d @ matrix @ d, matrix @ d

    return evaluate, matrix, centre


def run(optimizer, steps):
    for _ in range(steps):
        optimizer.step()
    return optimizer.result


class TestLBFGS:
    @pytest.mark.parametrize("history", [3, 20])
    def test_rosenbrock(self, history):
        optimizer = LBFGS(torch.full((10,), -1.2, dtype=torch.float64), rosenbrock, history=history)
        result = run(optimizer, 300)
        torch.testing.assert_close(result, torch.ones(10, dtype=torch.float64), rtol=0, atol=1e-5)

    @pytest.mark.parametrize("seed", [None, 7])
    def test_directions_equal_the_dense_bfgs_update(self, seed):
        evaluate, *_ = quadratic(6, 50)
        preconditioner = torch.eye(6, dtype=torch.float64) if seed is None else quadratic(6, 8, seed)[1]
        optimizer = LBFGS(
            torch.zeros(6, dtype=torch.float64), evaluate, history=4, preconditioner=lambda v: preconditioner @ v
        )
        run(optimizer, 7)
        gradient, pairs = optimizer._state.extra
        rows = [(optimizer._rows[i, 0], torch.linalg.solve(preconditioner, optimizer._rows[i, 1])) for i in pairs.slots]
        s, y = rows[-1]
        dense = preconditioner * (s @ y) / (y @ preconditioner @ y)
        for s, y in rows:
            left = torch.eye(6, dtype=torch.float64) - torch.outer(s, y) / (s @ y)
            dense = left @ dense @ left.T + torch.outer(s, s) / (s @ y)
        torch.testing.assert_close(optimizer._direction(pairs, gradient), -dense @ gradient, rtol=1e-9, atol=1e-12)

    def test_quadratic(self):
        evaluate, _, centre = quadratic(40, 1000)
        result = run(LBFGS(torch.zeros(40, dtype=torch.float64), evaluate), 200)
        torch.testing.assert_close(result, centre, rtol=0, atol=1e-6)

    @pytest.mark.parametrize("seed", range(4))
    def test_bounds_agree_with_scipy(self, seed):
        optimize = pytest.importorskip("scipy.optimize")
        evaluate, *_ = quadratic(30, 100, seed)
        low, high = -0.3, 0.4

        def for_scipy(x):
            loss, gradient = evaluate(torch.from_numpy(x))
            return loss.item(), gradient.numpy()

        start = torch.zeros(30, dtype=torch.float64)
        best = optimize.minimize(
            for_scipy,
            start.numpy(),
            jac=True,
            method="L-BFGS-B",
            bounds=[(low, high)] * 30,
            options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 2000},
        )
        result = run(LBFGS(start, evaluate, bounds=(low, high)), 300)
        assert low <= result.min() and result.max() <= high
        assert evaluate(result)[0].item() <= best.fun + 1e-8 * abs(best.fun)
        torch.testing.assert_close(result, torch.from_numpy(best.x), rtol=0, atol=1e-5)

    def test_bounds_per_channel_and_start_outside(self):
        target = torch.tensor([0.0, 1.0, 0.5]).view(3, 1, 1).expand(3, 4, 5)
        low, high = torch.tensor([0.2, 0.0, 0.0]).view(3, 1, 1), torch.tensor([1.0, 0.7, 1.0]).view(3, 1, 1)
        optimizer = LBFGS(
            torch.full((3, 4, 5), 9.0), lambda x: (((x - target) ** 2).sum(), 2 * (x - target)), bounds=(low, high)
        )
        assert optimizer.result.max() <= 1.0
        expected = torch.tensor([0.2, 0.7, 0.5]).view(3, 1, 1).expand(3, 4, 5)
        torch.testing.assert_close(run(optimizer, 30), expected, rtol=0, atol=1e-5)

    def test_nonconvex_function_never_rises(self):
        def evaluate(x):
            return torch.cos(3 * x).sum() + 0.1 * (x * x).sum(), -3 * torch.sin(3 * x) + 0.2 * x

        optimizer = LBFGS(torch.linspace(-0.05, 2, 17, dtype=torch.float64), evaluate)
        losses = [optimizer.step() for _ in range(60)]
        assert all(b <= a + 1e-12 for a, b in itertools.pairwise(losses))
        assert evaluate(optimizer.result)[1].abs().max() < 1e-6

    @pytest.mark.parametrize("factor", [1e-3, 1e6])
    def test_leaves_a_maximum_quickly(self, factor):
        def evaluate(x):
            return factor * (x**4 - x**2).sum(), factor * (4 * x**3 - 2 * x)

        optimizer = LBFGS(torch.full((5000,), 1e-3, dtype=torch.float64), evaluate)
        expected = torch.full((5000,), 0.5**0.5, dtype=torch.float64)
        torch.testing.assert_close(run(optimizer, 30), expected, rtol=0, atol=1e-4)

    def test_constant_function_stalls_at_once(self):
        optimizer = LBFGS(torch.ones(5), lambda x: (x.new_tensor(3.0), torch.zeros_like(x)))
        assert optimizer.step() == 3.0
        assert optimizer.stalled
        torch.testing.assert_close(run(optimizer, 3), torch.ones(5), rtol=0, atol=0)
        assert optimizer.iterations == 4

    def test_one_variable(self):
        optimizer = LBFGS(torch.tensor([5.0]), lambda x: (((x - 2) ** 4).sum(), 4 * (x - 2) ** 3))
        assert abs(run(optimizer, 60).item() - 2) < 2e-2

    def test_stalls_at_rounding_error(self):
        evaluate, *_ = quadratic(8, 10)
        optimizer = LBFGS(torch.zeros(8), lambda x: tuple(v.float() for v in evaluate(x.double())))
        run(optimizer, 200)
        assert optimizer.loss < 1e-9

    def test_scale_of_the_loss_does_not_matter(self):
        evaluate, _, centre = quadratic(12, 30)
        for factor in (1e-6, 1e8):
            optimizer = LBFGS(
                torch.zeros(12, dtype=torch.float64), lambda x, k=factor: tuple(k * v for v in evaluate(x))
            )
            torch.testing.assert_close(run(optimizer, 150), centre, rtol=0, atol=1e-5)


def noisy(evaluate, bad_calls, kind):
    calls = iter(range(10**9))

    def wrapped(x):
        loss, gradient = evaluate(x)
        if next(calls) in bad_calls:
            if kind == "loss":
                return loss * float("nan"), gradient
            gradient = gradient.clone()
            gradient[0] = float("inf")
        return loss, gradient

    return wrapped


@pytest.mark.parametrize("make", [LBFGS, lambda *a, **k: Adam(*a, lr=0.1, decay=0.5, **k)], ids=["lbfgs", "adam"])
class TestRecovery:
    @pytest.mark.parametrize("kind", ["loss", "gradient"])
    def test_nonfinite_values_in_the_middle(self, make, kind):
        evaluate, _, centre = quadratic(10, 5)
        bad = {0, 4, 9, 10, 11, 30}
        optimizer = make(torch.zeros(10, dtype=torch.float64), noisy(evaluate, bad, kind))
        result = run(optimizer, 400)
        torch.testing.assert_close(result, centre, rtol=0, atol=1e-2)

    def test_picture_stays_finite_and_good(self, make):
        evaluate, *_ = quadratic(10, 5)
        optimizer = make(torch.zeros(10, dtype=torch.float64), noisy(evaluate, {3}, "loss"))
        for _ in range(6):
            optimizer.step()
            assert torch.isfinite(optimizer.result).all()

    def test_fifth_failure_raises_and_names_the_layer(self, make):
        evaluate, *_ = quadratic(4, 5)
        optimizer = make(
            torch.zeros(4, dtype=torch.float64),
            noisy(evaluate, set(range(2, 100)), "loss"),
            describe_failure=lambda: "layer pool3",
        )
        with pytest.raises(RuntimeError, match=r"finite loss and gradient.*layer pool3.*5 times"):
            run(optimizer, 20)
        assert torch.isfinite(optimizer.result).all()

    def test_interrupt_leaves_a_state_that_continues(self, make):
        evaluate, *_ = quadratic(10, 50)
        whole = make(torch.zeros(10, dtype=torch.float64), evaluate)
        run(whole, 12)
        armed = []

        def interrupted(x):
            if armed:
                armed.clear()
                raise KeyboardInterrupt
            return evaluate(x)

        optimizer = make(torch.zeros(10, dtype=torch.float64), interrupted)
        run(optimizer, 7)
        armed.append(True)
        with pytest.raises(KeyboardInterrupt):
            optimizer.step()
        assert optimizer.iterations == 7
        assert torch.equal(run(optimizer, 5), whole.result)

    @pytest.mark.parametrize("cut", [0, 1, 5, 40])
    def test_resume_is_bit_identical(self, make, cut):
        def fresh():
            return make(torch.full((10,), -0.5, dtype=torch.float32), rosenbrock, bounds=(-0.8, 1.5))

        whole = fresh()
        run(whole, cut + 30)
        first = fresh()
        run(first, cut)
        buffer = io.BytesIO()
        torch.save(first.state_dict(), buffer)
        run(first, 3)  # the saved tensors must not change under the run
        buffer.seek(0)
        second = fresh()
        second.load_state_dict(torch.load(buffer, weights_only=True))
        assert second.iterations == cut
        run(second, 30)
        assert torch.equal(second.result, whole.result)
        assert second.loss == whole.loss

    def test_state_does_not_alias_the_run(self, make):
        optimizer = make(torch.full((6,), -0.5), rosenbrock)
        run(optimizer, 4)
        saved = optimizer.state_dict()
        copies = {k: v.clone() for k, v in saved.items() if torch.is_tensor(v)}
        run(optimizer, 40)
        for key, value in copies.items():
            assert torch.equal(saved[key], value), key

    def test_bad_arguments(self, make):
        evaluate, *_ = quadratic(4, 5)
        with pytest.raises(TypeError, match="floating-point"):
            make(torch.zeros(4, dtype=torch.int64), evaluate)
        with pytest.raises(ValueError, match="at least one element"):
            make(torch.zeros(0), evaluate)
        with pytest.raises(ValueError, match="low <= high"):
            make(torch.zeros(4), evaluate, bounds=(1.0, 0.0))
        with pytest.raises(ValueError, match="shape"):
            make(torch.zeros(4), evaluate).load_state_dict(make(torch.zeros(3), evaluate).state_dict())


def test_kinds_do_not_mix():
    with pytest.raises(ValueError, match="state of a Adam, got one of LBFGS"):
        Adam(torch.zeros(2), rosenbrock).load_state_dict(LBFGS(torch.zeros(2), rosenbrock).state_dict())


def test_history_must_match():
    with pytest.raises(ValueError, match="history 5, got 3"):
        LBFGS(torch.zeros(2), rosenbrock, history=5).load_state_dict(
            LBFGS(torch.zeros(2), rosenbrock, history=3).state_dict()
        )
    with pytest.raises(ValueError, match="history of at least 1, got 0"):
        LBFGS(torch.zeros(2), rosenbrock, history=0)
    with pytest.raises(ValueError, match=r"decay in \[0, 1\), got 1"):
        Adam(torch.zeros(2), rosenbrock, decay=1)


def test_adam_clamps_every_step_and_averages():
    seen = []

    def evaluate(x):
        seen.append(x.clone())
        return -x.sum(), -torch.ones_like(x)

    optimizer = Adam(torch.full((3,), 0.9), evaluate, lr=0.3, bounds=(0.0, 1.0))
    result = run(optimizer, 5)
    assert all(x.max() <= 1.0 for x in seen)
    torch.testing.assert_close(result, torch.ones(3))


class TestAdamWarmStart:
    def evaluate(self, x):
        return (x * x).sum(), 2 * x

    def test_constant_moments_stay_what_they_are(self):
        coarse = Adam(torch.ones(3, 4, 5), self.evaluate)
        for _ in range(10):
            coarse.step()
        fine = Adam(torch.ones(3, 7, 9), self.evaluate)
        fine.warm_start(coarse)
        before, after = (o.state_dict()["adam"] for o in (coarse, fine))
        assert int(after["step"]) == 10 and after["exp_avg"].shape == after["exp_avg_sq"].shape == (3, 7, 9)
        for key in ("exp_avg", "exp_avg_sq"):
            torch.testing.assert_close(after[key], before[key][:, :1, :1].expand(3, 7, 9))

    def test_same_size_goes_on_as_one_run(self):
        start = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0)) + 0.5
        whole = Adam(start, self.evaluate, decay=0.0)
        for _ in range(8):
            whole.step()
        first = Adam(start, self.evaluate, decay=0.0)
        for _ in range(5):
            first.step()
        second = Adam(first.result, self.evaluate, decay=0.0)
        second.warm_start(first)
        for _ in range(3):
            second.step()
        torch.testing.assert_close(second.result, whole.result)

    def test_second_moments_stay_positive(self):
        spots = torch.zeros(1, 6, 6)
        spots[0, 2, 3] = 100.0
        coarse = Adam(spots, self.evaluate)
        coarse.step()
        fine = Adam(torch.zeros(1, 13, 11), self.evaluate)
        fine.warm_start(coarse)
        assert (fine.state_dict()["adam"]["exp_avg_sq"] >= 0).all()
        fine.step()
        assert torch.isfinite(fine.result).all()

    def test_of_an_optimizer_that_never_stepped(self):
        fine = Adam(torch.ones(3, 7, 9), self.evaluate)
        fine.warm_start(Adam(torch.ones(3, 4, 5), self.evaluate))
        assert fine.step() == pytest.approx(189.0)
