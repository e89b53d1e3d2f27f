"""The toy task: its parts, and that boundary-aware masks win where boxes miss parts of their object."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("torchvision")

from cnnfast.models.instance_segmentation.object_masks.windows import window_boxes
from cnnfast.models.instance_segmentation.toy import (
    ToySettings,
    best_results,
    evaluation_boxes,
    evaluation_pictures,
    run_toy,
    toy_methods,
)
from cnnfast.models.instance_segmentation.toy_examples import example_sheet

SMALL = ToySettings(steps=3, batch=4, training=8, testing=6)
# Of the object mask network ahead of the binary mask, for boxes of IoU 0.4 to 0.55: mean IoU, share of IoU >= 0.7.
AHEAD = (0.04, 0.15)


@pytest.fixture(scope="module")
def run():
    return run_toy(1, settings=SMALL)


class TestParts:
    def test_grids(self):
        pictures = evaluation_pictures(SMALL)
        boxes = evaluation_boxes(pictures, SMALL)[0]
        sides = []
        for method in toy_methods():
            torch.manual_seed(0)
            logits = method.network().eval()(pictures.images, boxes)
            windows = method.windows(logits)
            loss = method.loss(logits, pictures.masks, boxes)
            loss.backward()
            assert loss.dim() == 0 and loss > 0
            assert windows.shape[2] == 28 + 2 * method.halo == method.ideal_windows(pictures.masks, boxes).shape[2]
            sides.append((logits.shape[1], logits.shape[2], windows.shape[2]))
        assert sides == [(1, 28, 28), (6, 28, 42), (1, 42, 42)]

    def test_only_the_control_looks_beyond_the_box(self):
        """A picture changed outside the box alone, and beyond the reach of convolutions: the backbone is left out."""
        box = torch.tensor([[16.0, 16.0, 44.0, 44.0]])
        images = torch.zeros(1, 3, 64, 64)
        changed = images.clone()
        changed[:, :, :, 50:] = 1
        outputs = []
        for method in toy_methods():
            torch.manual_seed(0)
            network = method.network().eval()
            network.backbone = torch.nn.AvgPool2d(2)
            network.head = torch.nn.Identity()
            outputs.append(torch.equal(network(images, box), network(changed, box)))
        assert outputs == [True, True, False]
        assert window_boxes(box, 28, 7).tolist() == [[9.0, 9.0, 51.0, 51.0]]

    def test_ideal_masks(self):
        binary, omn, control = best_results(settings=ToySettings(testing=64))
        for better, worse in ((omn, binary), (control, omn)):
            for a, b in zip(better.scores, worse.scores, strict=True):
                assert a.iou > b.iou and a.share >= b.share
        assert omn.scores[0].iou > 0.87 and binary.scores[0].iou < 0.8

    def test_same_seed_same_networks(self, run):
        again = run_toy(1, settings=SMALL)
        for a, b in zip(run.networks, again.networks, strict=True):
            for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True):
                assert torch.equal(x, y)
        other = run_toy(2, toy_methods()[:1], SMALL)
        assert not torch.equal(other.networks[0].head[4].weight, run.networks[0].head[4].weight)

    def test_leaves_threads_and_random_numbers_alone(self):
        threads, state = torch.get_num_threads(), torch.get_rng_state()
        steps = []
        run_toy(0, toy_methods()[:1], SMALL, callback=lambda *arguments: steps.append(arguments))
        assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), state)
        assert [(name, step) for name, step, _ in steps] == [("binary mask in box", step) for step in (1, 2, 3)]

    def test_examples(self, run):
        sheet = example_sheet(toy_methods(), run, 2, SMALL)
        assert sheet.shape == (3, 22 + 2 * (8 + 256), 4 * 256 + 3 * 8)
        assert sheet.min() >= 0 and sheet.max() <= 1 and sheet.unique().numel() > 100

    @pytest.mark.parametrize("seed", [-1, 10**6])
    def test_refused(self, seed):
        with pytest.raises(ValueError, match=r"run_toy: expected a seed of 0\.\.999999"):
            run_toy(seed)


@pytest.mark.slow
def test_object_masks_win_in_boxes_that_miss_their_object():
    binary, omn = (result.scores[0] for result in run_toy(0, toy_methods()[:2]).results)
    assert omn.iou >= binary.iou + AHEAD[0] and omn.share >= binary.share + AHEAD[1]
    assert binary.iou > 0.6
