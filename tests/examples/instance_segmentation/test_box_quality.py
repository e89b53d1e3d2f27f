"""Masks in boxes that miss their object: the parts of the experiment, and that boundary-aware masks win there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("torchvision")

from cnnfast.images import load_image
from cnnfast.models.instance_segmentation import window_boxes
from examples.instance_segmentation.box_quality import (
    SETTINGS,
    compare,
    evaluation_boxes,
    evaluation_pictures,
    example_sheet,
    ideal_results,
    main,
)
from examples.instance_segmentation.mask_methods import MaskNetwork, compared_methods

SMALL = replace(SETTINGS, steps=3, batch=4, training=8, testing=6)
METHODS = compared_methods()
# Of the object mask network ahead of the binary mask, for boxes of IoU 0.4 to 0.55: mean IoU, share of IoU >= 0.7.
AHEAD = (0.04, 0.15)


@pytest.fixture(scope="module")
def results():
    return compare(1, METHODS, SMALL)


class TestParts:
    def test_grids(self):
        pictures = evaluation_pictures(SMALL)
        images, masks, _ = pictures.tensors
        boxes = evaluation_boxes(pictures)[0]
        sides = []
        for method in METHODS:
            torch.manual_seed(0)
            logits = MaskNetwork(method.channels, method.context).eval()(images, boxes)
            windows = method.windows(logits)
            loss = method.loss(logits, masks, boxes)
            loss.backward()
            assert loss.dim() == 0 and loss > 0
            assert windows.shape[2] == 28 + 2 * method.halo == method.ideal_windows(masks, boxes).shape[2]
            sides.append((logits.shape[1], logits.shape[2], windows.shape[2]))
        assert sides == [(1, 28, 28), (6, 28, 42), (1, 42, 42)]

    def test_only_the_control_looks_beyond_the_box(self):
        """A picture changed outside the box alone, and beyond the reach of convolutions: the backbone is left out."""
        box = torch.tensor([[16.0, 16.0, 44.0, 44.0]])
        images = torch.zeros(1, 3, 64, 64)
        changed = images.clone()
        changed[:, :, :, 50:] = 1
        outputs = []
        for method in METHODS:
            torch.manual_seed(0)
            network = MaskNetwork(method.channels, method.context).eval()
            network.backbone = torch.nn.AvgPool2d(2)
            network.head = torch.nn.Identity()
            outputs.append(torch.equal(network(images, box), network(changed, box)))
        assert outputs == [True, True, False]
        assert window_boxes(box, 28, 7).tolist() == [[9.0, 9.0, 51.0, 51.0]]

    def test_ideal_masks(self):
        binary, omn, control = (result.scores for result in ideal_results(METHODS, replace(SETTINGS, testing=64)))
        for better, worse in ((omn, binary), (control, omn)):
            for a, b in zip(better, worse, strict=True):
                assert a[0] > b[0] and a[1] >= b[1]
        assert omn[0][0] > 0.87 and binary[0][0] < 0.8

    def test_same_seed_same_networks(self, results):
        again = compare(1, METHODS, SMALL)
        for a, b in zip(results, again, strict=True):
            for x, y in zip(a.network.state_dict().values(), b.network.state_dict().values(), strict=True):
                assert torch.equal(x, y)
        (other,) = compare(2, METHODS[:1], SMALL)
        assert not torch.equal(other.network.head[4].weight, results[0].network.head[4].weight)

    def test_leaves_random_numbers_alone(self):
        state = torch.get_rng_state()
        steps = []
        compare(0, METHODS[:1], SMALL, lambda *call: steps.append(call))
        assert torch.equal(torch.get_rng_state(), state)
        assert [(name, step) for name, step, _ in steps] == [("binary mask in box", step) for step in (1, 2, 3)]

    def test_examples(self, results):
        sheet = example_sheet(METHODS, results, 2, SMALL)
        assert sheet.shape == (3, 22 + 2 * (8 + 256), 4 * 256 + 3 * 8)
        assert sheet.min() >= 0 and sheet.max() <= 1 and sheet.unique().numel() > 100

    @pytest.mark.parametrize("seed", [-1, 10**6])
    def test_refused(self, seed):
        with pytest.raises(ValueError, match=r"training_scenes: expected a seed of 0\.\.999999"):
            compare(seed, METHODS, SMALL)


@pytest.mark.usefixtures("restore_threads")
def test_table_picture_and_json(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    main(["--steps", "2", "--seeds", "0", "1", "--rows", "3", "--results", "a.json"], SMALL)
    out, err = capsys.readouterr()
    for words in ("binary mask in box", "object mask network", "control: wider box", "box 0.4-0.55", "ideal", "mean"):
        assert words in out
    assert out.count("\n| ") == 14 and max(map(len, out.splitlines())) <= 120 and err.count("step 2 of 2") == 6
    assert out.splitlines()[-1].startswith("box_quality.png: ")
    assert load_image("box_quality.png").shape == (3, 22 + 3 * (8 + 256), 4 * 256 + 3 * 8)
    content = json.loads(Path("a.json").read_text())
    assert [(entry["method"], entry["seed"]) for entry in content["results"]][::3] == [
        ("binary mask in box", 0),
        ("binary mask in box", 1),
        ("binary mask in box", None),
    ]
    assert content["steps"] == 2 and all(len(entry["mean_iou"]) == 3 for entry in content["results"])


def test_interrupted_it_writes_nothing(monkeypatch, tmp_path, restore_threads):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("examples.instance_segmentation.box_quality.ideal_results", stop)
    with pytest.raises(KeyboardInterrupt):
        main(["--steps", "1", "--results", "a.json"], SMALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_object_masks_win_in_boxes_that_miss_their_object():
    binary, omn = (result.scores[0] for result in compare(0, METHODS[:2], SETTINGS))
    assert omn[0] >= binary[0] + AHEAD[0] and omn[1] >= binary[1] + AHEAD[1]
    assert binary[0] > 0.6
