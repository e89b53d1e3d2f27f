"""Training of instance segmentation: losses, seeds, resume, bad steps, files, options."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest
import torch

pytest.importorskip("torchvision")
pytest.importorskip("lightning_fabric")
pytest.importorskip("PIL")

from cnnfast.detection.data import SyntheticInstances
from cnnfast.detection.data.training import TrainingScenes, collate, mirror
from cnnfast.models.instance_segmentation.architectures import KINDS, ModelSettings
from cnnfast.models.instance_segmentation.model_files import load_model
from cnnfast.models.instance_segmentation.training import Recipe, train_segmentation
from cnnfast.models.instance_segmentation.training_step import SegmentationTraining, lr_factor

SIDE = 48
SETTINGS = ModelSettings("maskrcnn-omn", "small", 4, R=5, K=3, min_size=SIDE, max_size=SIDE)
CLASSES = ("ellipse", "rectangle", "star")
FAST = Recipe("adamw", 1e-3, schedule="constant")


@pytest.fixture(scope="module")
def data() -> SyntheticInstances:
    return SyntheticInstances(4, size=SIDE)


@pytest.fixture
def train(data):
    def call(steps=3, **options):
        history = []
        watch = options.pop("callback", lambda progress: None)

        def callback(progress):
            history.append(progress)
            return watch(progress)

        settings = options.pop("settings", SETTINGS)
        classes = options.pop("classes", CLASSES if settings.num_classes == 4 else ("object",))
        usual = {"batch_size": 2, "workers": 0, "device": "cpu", "recipe": FAST}
        source = options.pop("data", data)
        network = train_segmentation(source, settings, classes, max_steps=steps, callback=callback, **usual | options)
        return network, history

    return call


class TestSchedules:
    def test_step(self):
        factors = [lr_factor(step, 100, "step", 0) for step in (0, 79, 80, 94, 95, 99)]
        assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])

    def test_cosine(self):
        assert [lr_factor(step, 10, "cosine", 0) for step in (0, 5)] == pytest.approx([1, 0.5])

    def test_warmup_rises_to_the_schedule(self):
        factors = [lr_factor(step, 100, "constant", 4) for step in range(6)]
        assert factors == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])

    def test_lr_grows_with_the_pictures_of_a_step(self):
        assert Recipe().rate(8) == 0.01 and Recipe(lr=0.5).rate(8) == 0.5

    @pytest.mark.parametrize(
        "options", [{"optimizer": "adam"}, {"schedule": "poly"}, {"lr": 0.0}, {"warmup": -1}, {"weight_decay": -1.0}]
    )
    def test_refused(self, options):
        with pytest.raises(ValueError, match=f"expected .*{next(iter(options))}"):
            Recipe(**options)


class TestScenes:
    def test_mirror_is_its_own_inverse(self, data):
        picture, target = data[0]
        twice = mirror(*mirror(picture, target))
        assert torch.equal(twice[0], picture) and torch.equal(twice[1]["boxes"], target["boxes"])
        assert torch.equal(twice[1]["masks"], target["masks"])

    def test_mirrored_boxes_are_those_of_the_mirrored_masks(self, data):
        _, target = mirror(*data[1])
        columns = target["masks"][0].any(0).nonzero()
        assert target["boxes"][0, 0] == columns.min() and target["boxes"][0, 2] == columns.max() + 1

    def test_half_of_them_depend_on_seed_and_number(self, data):
        scenes = TrainingScenes(data, seed=1)
        first = [torch.equal(scenes[(number, 0)].pictures[0], data[0][0]) for number in range(40)]
        assert 8 <= sum(first) <= 32
        again = TrainingScenes(data, seed=1)
        assert first == [torch.equal(again[(number, 0)].pictures[0], data[0][0]) for number in range(40)]
        other = TrainingScenes(data, seed=2)
        assert first != [torch.equal(other[(number, 0)].pictures[0], data[0][0]) for number in range(40)]

    def test_crowds_and_objects_without_area_are_left_out(self):
        masks = torch.zeros(3, 8, 8, dtype=torch.uint8)
        masks[:2, 2:4, 2:4] = 1
        boxes = torch.tensor([[2.0, 2.0, 4.0, 4.0], [2.0, 2.0, 4.0, 4.0], [5.0, 5.0, 5.0, 6.0]])
        crowd = torch.tensor([0, 1, 0])
        target = {"boxes": boxes, "labels": torch.tensor([1, 2, 3]), "masks": masks, "iscrowd": crowd}
        scene = TrainingScenes([(torch.rand(3, 8, 8), target)])[(0, 0)]
        assert scene.targets[0]["labels"].tolist() == [1] and set(scene.targets[0]) == {"boxes", "labels", "masks"}

    def test_classless(self, data):
        scenes = TrainingScenes(data, classless=True)
        assert {int(scenes[(0, index)].targets[0]["labels"]) for index in range(4)} == {1}

    def test_unreadable_ones_are_skipped_and_named(self, data):
        scenes = TrainingScenes(_Damaged(data, {0, 1}), flip=False)
        batch = collate([scenes[(0, 0)], scenes[(1, 3)]])
        assert batch.skipped == ["picture 0 is damaged", "picture 1 is damaged"]
        assert torch.equal(batch.pictures[0], data[2][0]) and torch.equal(batch.pictures[1], data[3][0])
        with pytest.raises(ValueError, match="can be read, got none; picture 1 is damaged"):
            TrainingScenes(_Damaged(data, {0, 1, 2, 3}))[(0, 1)]


class _Damaged:
    def __init__(self, data, bad):
        self.data, self.bad = data, bad

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        if index in self.bad:
            raise ValueError(f"picture {index} is damaged")
        return self.data[index]


class TestTraining:
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind_takes_steps(self, train, kind):
        classes = 2 if kind == "rpn-omn" else 4
        network, history = train(2, settings=replace(SETTINGS, kind=kind, num_classes=classes), batch_size=1)
        assert not network.training and [progress.step for progress in history] == [1, 2]
        assert all(0 < progress.loss < 1e3 and progress.skipped_steps == 0 for progress in history)
        assert history[0].loss == pytest.approx(sum(history[0].terms.values()), rel=1e-5)

    def test_same_seed_same_network(self, train):
        (first, history), (second, again) = train(2), train(2, workers=2)
        assert [p.loss for p in history] == [p.loss for p in again]
        for name, tensor in first.state_dict().items():
            assert torch.equal(tensor, second.state_dict()[name])
        assert [p.loss for p in train(2, seed=7)[1]] != [p.loss for p in history]

    def test_random_numbers_outside_are_left_alone(self, train):
        torch.manual_seed(3)
        expected = torch.rand(2)
        torch.manual_seed(3)
        train(1)
        assert torch.equal(torch.rand(2), expected)

    def test_epochs(self, train):
        _, history = train(None, epochs=3)
        assert len(history) == 6  # 3 * 4 pictures, 2 a step

    def test_bfloat16(self, train):
        exact, mixed = (train(2, amp=amp)[1][-1].loss for amp in ("none", "bf16"))
        assert mixed == pytest.approx(exact, rel=0.1)

    def test_pictures_without_objects(self, train):
        empty = {
            "boxes": torch.zeros(0, 4),
            "labels": torch.zeros(0, dtype=torch.int64),
            "masks": torch.zeros(0, SIDE, SIDE, dtype=torch.uint8),
        }
        _, history = train(2, data=[(torch.rand(3, SIDE, SIDE), empty)])
        assert history[-1].skipped_steps == 0 and history[-1].terms["loss_mask"] == 0

    def test_weight_of_the_masks_follows_the_steps(self, train, monkeypatch):
        seen = []
        prepare = SegmentationTraining.prepare

        def note(self, optimizer):
            prepare(self, optimizer)
            seen.append({module.lambda_mask for module in self.network.modules() if hasattr(module, "lambda_mask")})

        monkeypatch.setattr(SegmentationTraining, "prepare", note)
        train(3, batch_size=1)
        assert seen == [{0.1}, {1.0}, {1.0}]

    @pytest.mark.slow
    @pytest.mark.parametrize("seed", [0, 1])
    def test_losses_fall(self, train, seed):
        """Those of proposals and classes, whose boxes are chosen alike at every step.

        The others need not fall within so few steps: the better the proposals, the more boxes beside the objects' own
        are refined and given masks, which is harder, and the loss of the mask counts ten times as much after a third.
        """
        data = SyntheticInstances(32, size=SIDE)
        recipe = Recipe("adamw", 1e-3, schedule="cosine", warmup=5)
        _, history = train(60, data=data, recipe=recipe, seed=seed)
        for name, share in (("loss_objectness", 0.1), ("loss_classifier", 0.6)):
            losses = [progress.terms[name] for progress in history]
            assert sum(losses[-8:]) / 8 < share * losses[0], name


class TestResume:
    def test_goes_on_as_the_unbroken_run(self, train, tmp_path):
        whole, history = train(4)
        train(4, callback=lambda progress: progress.step == 1, checkpoint=tmp_path / "run.pt")
        rest, resumed = train(4, resume=tmp_path / "run.pt")
        assert [p.step for p in resumed] == [3, 4]
        assert [p.loss for p in resumed] == [p.loss for p in history[2:]]
        for name, tensor in whole.state_dict().items():
            assert torch.equal(tensor, rest.state_dict()[name]), name

    def test_other_settings_are_refused(self, train, tmp_path):
        train(1, checkpoint=tmp_path / "run.pt")
        for change in ({"seed": 3}, {"batch_size": 1}, {"settings": replace(SETTINGS, K=2)}, {"recipe": Recipe()}):
            with pytest.raises(ValueError, match="train_segmentation: expected the settings of the checkpoint"):
                train(2, resume=tmp_path / "run.pt", **change)

    def test_other_files_are_refused(self, train, tmp_path):
        torch.save({"state_dict": {}}, tmp_path / "other.pt")
        (tmp_path / "text.pt").write_text("no checkpoint")
        for name in ("other.pt", "text.pt"):
            with pytest.raises(ValueError, match=f"expected a checkpoint of its own, got .*{name}"):
                train(2, resume=tmp_path / name)


class TestFiles:
    def test_network_and_log(self, train, tmp_path):
        network, _ = train(3, out=tmp_path / "a.pt", log_dir=tmp_path / "log", log_every=2, category_ids=[4, 5, 9])
        model = load_model(tmp_path / "a.pt")
        assert model.settings == SETTINGS and model.classes == CLASSES and model.category_ids == (4, 5, 9)
        assert model.training["steps"] == 3 and model.training["recipe"]["optimizer"] == "adamw"
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor, model.network.state_dict()[name])
        (path,) = tmp_path.rglob("metrics.csv")
        rows = list(csv.DictReader(path.open()))
        assert [row["step"] for row in rows] == ["2", "3"]  # every other one, and the last
        assert {"loss", "loss_mask", "loss_mask_bins", "loss_objectness", "skipped_steps"} <= set(rows[0])

    def test_nothing_else_is_written(self, train, tmp_path, monkeypatch, capfd):
        monkeypatch.chdir(tmp_path)
        train(1, out=tmp_path / "a.pt", checkpoint=tmp_path / "run.pt")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt", "run.pt"]
        assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "options, words",
    [
        ({"batch_size": 0}, "batch_size of at least 1"),
        ({"steps": 0}, "max_steps of at least 1"),
        ({"workers": -1}, "workers of at least 0"),
        ({"amp": "fp8"}, "amp among auto, bf16, none"),
        ({"out": "a.bin"}, "ending in .pt or .safetensors"),
        ({"data": []}, "expected pictures, got none"),
        ({"classes": ("a",)}, "expected the names of 3 classes, got 1"),
    ],
)
def test_bad_options(train, options, words):
    with pytest.raises(ValueError, match=words):
        train(**options)
