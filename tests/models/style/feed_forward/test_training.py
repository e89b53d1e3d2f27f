"""Training of style networks on a tiny loss network: losses, resume, bad losses, files, options."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("lightning_fabric")
pytest.importorskip("PIL")

from cnnfast.features.choice import RandomFilterFeatures, build_extractor
from cnnfast.images import save_image
from cnnfast.models.style.feed_forward.examples_network import TransformerNet
from cnnfast.models.style.feed_forward.files import load_style_network
from cnnfast.models.style.feed_forward.losses import FAST_STYLE_LAYERS, PerceptualLoss, TermWeights
from cnnfast.models.style.feed_forward.training import train_fast_style
from cnnfast.weights import VGGWeights


@pytest.fixture
def features(tiny_vgg):
    state = {name: (weight.float(), bias.float().abs() + 0.2) for name, (weight, bias) in tiny_vgg("vgg16").items()}
    weights = VGGWeights("vgg16", state, "identity")
    return build_extractor("vgg", taps=FAST_STYLE_LAYERS, pool="max", weights=weights)


@pytest.fixture
def pictures():
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(3, 8, 10, generator=generator).repeat_interleave(5, 1).repeat_interleave(5, 2) for _ in range(3)]


@pytest.fixture
def style():
    rows = torch.arange(40)[:, None] // 4 % 2
    return torch.stack([rows.expand(40, 40) * 0.8, 0.3 * torch.ones(40, 40), 1 - rows.expand(40, 40) * 0.9])


@pytest.fixture
def train(style, pictures, features):
    def call(steps=6, **options):
        torch.manual_seed(5)
        network = options.pop("network", None) or TransformerNet((4, 6, 8))
        history = []
        watch = options.pop("callback", lambda progress: None)

        def callback(progress):
            history.append(progress)
            return watch(progress)

        usual = {"image_size": 32, "batch_size": 2, "workers": 0, "device": "cpu", "amp": "none", "extractor": features}
        source, target = options.pop("pictures", pictures), options.pop("style", style)
        network = train_fast_style(
            target, source, network=network, max_steps=steps, callback=callback, **usual | options
        )
        return network, history

    return call


class TestLosses:
    def test_terms(self, features, style):
        loss = PerceptualLoss(features, style, FAST_STYLE_LAYERS, ["relu2_2"])
        x, y = torch.rand(2, 3, 24, 32), torch.rand(2, 3, 24, 32)
        content, styled, tv = loss(y, x)
        a, b, t = features(y), features(x), features(style[None])
        torch.testing.assert_close(content, (a["relu2_2"] - b["relu2_2"]).square().mean())

        def gram(f):
            f = f.flatten(2)
            return f @ f.mT / (f.shape[1] * f.shape[2])

        expected = sum((gram(a[name]) - gram(t[name])).square().mean() for name in FAST_STYLE_LAYERS)
        torch.testing.assert_close(styled, expected)
        torch.testing.assert_close(tv, y.diff(dim=2).abs().mean() + y.diff(dim=3).abs().mean())
        assert loss(x, x)[0] == 0

    def test_targets_of_one_picture_serve_all_batches(self, features, style):
        loss = PerceptualLoss(features, style, FAST_STYLE_LAYERS, ["relu2_2"])
        assert {tuple(part.target.shape[:1]) for part in loss.style.values()} == {(1,)}
        assert not any("extractor" in name for name in loss.state_dict())

    def test_unknown_layer(self, features, style):
        with pytest.raises(ValueError, match=r"expected layers among relu1_2, .*got 'relu9'"):
            PerceptualLoss(features, style, ["relu9"], ["relu2_2"])

    def test_weight_is_found_and_then_fixed(self):
        weights = TermWeights(2.0, strength=5.0, settle=3)
        weights.observe(torch.tensor([3.0, 0.5, 0.0]))
        assert weights.style_weight == 60
        assert weights(torch.tensor([3.0, 0.5, 0.0])) == 6 + 30
        for _ in range(5):
            weights.observe(torch.tensor([6.0, 0.5, 0.0]))
        content = 6 - 3 * (14 / 15) ** 2  # two more steps are seen
        assert float(weights.style_weight) == pytest.approx(10 * content / 0.5)

    def test_no_style_left(self):
        weights = TermWeights(strength=5.0)
        weights.observe(torch.tensor([3.0, 0.0, 0.0]))
        assert weights.style_weight == 0

    @pytest.mark.parametrize("options", [{"content": -1.0}, {"style": float("nan")}, {"strength": 0.0}, {"tv": -1.0}])
    def test_bad_weights(self, options):
        with pytest.raises(ValueError, match="train_fast_style: expected"):
            TermWeights(**options)


class TestTraining:
    def test_loss_falls(self, train):
        _, history = train(60, lr=5e-3, style_weight=30.0)
        losses = [progress.loss for progress in history]
        assert [progress.step for progress in history] == list(range(1, 61))
        assert sum(losses[-5:]) < 0.5 * sum(losses[:5])

    def test_same_seed_same_network(self, train):
        first, second = train(4)[0], train(4)[0]
        for name, tensor in first.state_dict().items():
            assert torch.equal(tensor, second.state_dict()[name])

    def test_readers_in_other_processes_change_nothing(self, train):
        first, second = train(4)[1], train(4, workers=2)[1]
        assert [p.loss for p in first] == [p.loss for p in second]

    def test_epochs(self, train):
        _, history = train(None, epochs=4, batch_size=5)
        assert len(history) == 3  # 4 * 3 crops in batches of 5

    def test_bfloat16(self, train):
        exact, mixed = (train(4, amp=amp)[1][-1].loss for amp in ("none", "bf16"))
        assert mixed == pytest.approx(exact, rel=0.03)

    def test_random_filters(self, style, pictures):
        network = TransformerNet((4, 6, 8))
        filters = RandomFilterFeatures(filters_per_scale=2, sizes=(3, 5))
        train_fast_style(
            style, pictures, network=network, extractor=filters, image_size=16, max_steps=2, workers=0, device="cpu"
        )

    def test_default_network_has_the_published_widths(self, style, pictures, features):
        options = {"image_size": 16, "batch_size": 1, "max_steps": 1, "workers": 0, "device": "cpu", "amp": "none"}
        first, second = (train_fast_style(style, pictures, extractor=features, **options) for _ in range(2))
        assert first.channels == (32, 64, 128)
        assert torch.equal(first.conv1.conv2d.weight, second.conv1.conv2d.weight)

    def test_unreadable_pictures_are_named(self, train, tmp_path, caplog):
        save_image(torch.rand(3, 40, 40), tmp_path / "good.png")
        (tmp_path / "bad.png").write_text("no picture")
        _, history = train(4, pictures=tmp_path)
        assert len(history) == 4
        assert caplog.text.count("skipped: ") == 1 and "bad.png" in caplog.text


class TestResume:
    def test_goes_on_as_unbroken(self, train, tmp_path):
        whole, history = train(8)
        files = {"checkpoint": tmp_path / "run.pt", "out": tmp_path / "a.pth"}
        train(8, **files, callback=lambda progress: progress.step == 3)
        stopped = torch.load(tmp_path / "run.pt", weights_only=True)
        assert int(stopped["state_dict"]["counters"][0]) == 4
        resumed, rest = train(8, **files, resume=tmp_path / "run.pt")
        assert [p.step for p in rest] == [5, 6, 7, 8]
        assert [p.loss for p in rest] == [p.loss for p in history[4:]]
        for name, tensor in whole.state_dict().items():
            assert torch.equal(tensor, resumed.state_dict()[name])
        loaded = load_style_network(tmp_path / "a.pth").network
        assert torch.equal(loaded.in5.bias, resumed.in5.bias)

    def test_more_steps_than_planned(self, train, tmp_path):
        _, history = train(7)
        train(4, checkpoint=tmp_path / "run.pt")
        _, rest = train(7, resume=tmp_path / "run.pt")
        assert [p.loss for p in rest] == [p.loss for p in history[4:]]

    def test_at_the_end(self, train, tmp_path):
        first, _ = train(3, checkpoint=tmp_path / "run.pt")
        second, history = train(3, resume=tmp_path / "run.pt", out=tmp_path / "a.pt")
        assert not history and torch.equal(first.in5.bias, second.in5.bias)
        assert load_style_network(tmp_path / "a.pt").settings["steps"] == 3

    def test_other_settings_are_refused(self, train, tmp_path, style):
        train(2, checkpoint=tmp_path / "run.pt")
        for change in ({"lr": 1.0}, {"batch_size": 3}, {"seed": 1}, {"style": style.flip(0)}, {"image_size": 48}):
            with pytest.raises(ValueError, match="expected the settings of the checkpoint"):
                train(2, resume=tmp_path / "run.pt", **change)

    def test_other_files_are_refused(self, train, tmp_path):
        torch.save({"state_dict": {}}, tmp_path / "other.pt")
        (tmp_path / "text.pt").write_text("no checkpoint")
        for name in ("other.pt", "text.pt"):
            with pytest.raises(ValueError, match=f"expected a checkpoint of its own, got .*{name}"):
                train(2, resume=tmp_path / name)
        with pytest.raises(ValueError, match=r"none\.pt which does not exist"):
            train(2, resume=tmp_path / "none.pt")


class _Poisoned(nn.Module):
    """Features that turn to NaN for some calls."""

    def __init__(self, features, bad):
        super().__init__()
        self._features, self._bad, self.calls = [features], bad, 0
        self.taps = features.taps

    def forward(self, image):
        result = self._features[0](image)
        if image.requires_grad:
            self.calls += 1
            if self.calls in self._bad:
                result = {name: value * float("nan") for name, value in result.items()}
        return result


class TestBadLosses:
    def test_steps_are_left_out(self, train, features):
        network, history = train(8, extractor=_Poisoned(features, {3, 4, 6}))
        assert [p.skipped_steps for p in history] == [0, 0, 1, 2, 2, 3, 3, 3]
        assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())

    def test_twenty_in_a_row_end_it_and_the_checkpoint_stays(self, train, features, tmp_path):
        poisoned = _Poisoned(features, set(range(6, 99)))
        with pytest.raises(RuntimeError, match="none in 20 steps in a row, the last one step 25: content nan") as error:
            train(60, extractor=poisoned, checkpoint=tmp_path / "run.pt", checkpoint_every=5, out=tmp_path / "a.pth")
        assert "\n" not in str(error.value)
        network = load_style_network(tmp_path / "a.pth").network
        assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())
        assert torch.load(tmp_path / "run.pt", weights_only=True)["state_dict"]["counters"][1] <= 15


class TestFiles:
    def test_csv_log(self, train, tmp_path):
        train(6, log_dir=tmp_path, log_every=2)
        (path,) = tmp_path.rglob("metrics.csv")
        rows = list(csv.DictReader(path.open()))
        assert [row["step"] for row in rows] == ["2", "4", "6"]
        assert {"loss", "content", "style", "tv", "style_weight", "skipped_steps"} <= set(rows[0])

    def test_tensorboard_log(self, train, tmp_path):
        pytest.importorskip("tensorboard")
        train(2, log_dir=tmp_path, log_every=1, log_format="tensorboard")
        assert list(tmp_path.rglob("events.out.tfevents*"))

    def test_nothing_else_is_written(self, train, tmp_path, monkeypatch, capfd):
        monkeypatch.chdir(tmp_path)
        train(2, out=tmp_path / "a.pth", checkpoint=tmp_path / "run.pt")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pth", "run.pt"]
        assert capfd.readouterr() == ("", "")


def test_a_loaded_network_is_trained_further(train, tmp_path):
    train(2, out=tmp_path / "a.pth")
    network = load_style_network(tmp_path / "a.pth").network
    before = network.in5.bias.clone()
    train(2, network=network)
    assert not torch.equal(network.in5.bias, before)


def test_other_networks_are_refused(train):
    with pytest.raises(TypeError, match="expected network a TransformerNet or JohnsonNet, got Linear"):
        train(1, network=nn.Linear(1, 1))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"batch_size": 0}, "batch_size of at least 1"),
        ({"image_size": 0}, "image_size of at least 1"),
        ({"steps": 0}, "max_steps of at least 1"),
        ({"lr": 0.0}, "a positive lr"),
        ({"workers": -1}, "workers of at least 0"),
        ({"amp": "fp8"}, "amp among auto, bf16, none"),
        ({"log_format": "xml"}, "log_format among csv, tensorboard"),
        ({"out": "a.bin"}, "ending in .pth"),
        ({"style_strength": -1.0}, "positive style_strength"),
        ({"pictures": []}, "expected pictures, got none"),
        ({"content_layers": ["pool9"]}, "expected layers among"),
    ],
)
def test_bad_options(train, options, words):
    with pytest.raises(ValueError, match=words):
        train(**options)


def test_lightning_comes_with_training_alone(tmp_path):
    code = (
        "import sys; from cnnfast.models import style; style.apply_style; style.feed_forward; "
        "print('lightning_fabric' in sys.modules, 'PIL' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[4])
    assert done.stdout.split() == ["False", "False"], done.stderr
