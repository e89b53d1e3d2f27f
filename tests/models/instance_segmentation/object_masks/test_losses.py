"""Losses of object mask networks: values by hand, weights, empty batches, bad input."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("torchvision")

from cnnfast.models.instance_segmentation import OMNTargets, mask_loss_weight, omn_loss

K, S, P = 3, 4, 2


def random_targets(count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, K + 1, (count, S, S), generator=generator).to(torch.uint8)
    masks = torch.rand(count, S + 2 * P, S + 2 * P, generator=generator) > 0.5
    valid = torch.rand(count, S + 2 * P, S + 2 * P, generator=generator) > 0.3
    return OMNTargets(labels, masks, valid)


def random_logits(count=3, channels=K + 1, seed=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    bins = torch.randn(count, channels, S, S, generator=generator, dtype=torch.float64).to(dtype)
    masks = torch.randn(count, 1, S + 2 * P, S + 2 * P, generator=generator, dtype=torch.float64).to(dtype)
    return bins.requires_grad_(), masks.requires_grad_()


class TestValues:
    def test_bins_softmax(self):
        (bins, masks), targets = random_logits(), random_targets()
        loss = omn_loss(bins, masks, targets, lambda_bin=2.0)["loss_mask_bins"]
        chosen = bins.log_softmax(1).gather(1, targets.labels[:, None].long())
        torch.testing.assert_close(loss, -2 * chosen.mean())

    def test_bins_sigmoid(self):
        (bins, masks), targets = random_logits(channels=K), random_targets()
        loss = omn_loss(bins, masks, targets, activation="sigmoid")["loss_mask_bins"]
        one_hot = F.one_hot(targets.labels.long(), K + 1).movedim(3, 1)[:, 1:].float()
        p = bins.sigmoid()
        torch.testing.assert_close(loss, -(one_hot * p.log() + (1 - one_hot) * (1 - p).log()).mean())

    def test_mask_counts_valid_cells_alone(self):
        (bins, masks), targets = random_logits(), random_targets()
        loss = omn_loss(bins, masks, targets, lambda_mask=1.0)["loss_mask"]
        p = masks[:, 0].sigmoid()
        right = torch.where(targets.masks, p, 1 - p)[targets.valid]
        torch.testing.assert_close(loss, -right.log().mean())
        loss.backward()
        assert torch.equal(masks.grad[:, 0] != 0, targets.valid)

    def test_default_weights(self):
        (bins, masks), targets = random_logits(), random_targets()
        default, whole = omn_loss(bins, masks, targets), omn_loss(bins, masks, targets, lambda_bin=1, lambda_mask=1)
        assert list(default) == ["loss_mask_bins", "loss_mask"]
        torch.testing.assert_close(default["loss_mask_bins"], whole["loss_mask_bins"])
        torch.testing.assert_close(default["loss_mask"], 0.1 * whole["loss_mask"])

    def test_weights_of_bins(self):
        (bins, masks), targets = random_logits(), random_targets()
        weights = torch.tensor([1.0, 2.0, 0.0, 3.0])
        loss = omn_loss(bins, masks, targets, bin_weights=weights)["loss_mask_bins"]
        each = weights[targets.labels.long()]
        chosen = bins.log_softmax(1).gather(1, targets.labels[:, None].long())[:, 0]
        torch.testing.assert_close(loss, -(each * chosen).sum() / each.sum())
        maps, _ = random_logits(channels=K)
        ones = omn_loss(maps, None, targets, bin_weights=torch.ones(K), activation="sigmoid")
        twos = omn_loss(maps, None, targets, bin_weights=torch.full((K,), 2.0), activation="sigmoid")
        torch.testing.assert_close(2 * ones["loss_mask_bins"], twos["loss_mask_bins"])

    def test_without_the_mask(self):
        assert list(omn_loss(random_logits()[0], None, random_targets())) == ["loss_mask_bins"]

    def test_saturated_logits_keep_their_gradient(self):
        _, targets = random_logits(), random_targets()
        masks = torch.full((3, 1, S + 2 * P, S + 2 * P), -500.0, requires_grad=True)
        loss = omn_loss(torch.zeros(3, K + 1, S, S), masks, targets, lambda_mask=1.0)["loss_mask"]
        loss.backward()
        assert loss.isfinite() and bool((masks.grad[:, 0] != 0).eq(targets.masks & targets.valid).all())

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_types(self, dtype):
        bins, masks = random_logits(dtype=dtype)
        targets = random_targets()
        losses = omn_loss(bins, masks, targets)
        wide = omn_loss(bins.float(), masks.float(), targets)
        for name, loss in losses.items():
            assert loss.dtype == torch.float32
            assert torch.equal(loss, wide[name])

    def test_schedule(self):
        assert [mask_loss_weight(step, 300) for step in (0, 99, 100, 299)] == [0.1, 0.1, 1.0, 1.0]


class TestNothing:
    @pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
    def test_no_boxes(self, activation):
        bins, masks = random_logits(0, K + (activation == "softmax"))
        losses = omn_loss(bins, masks, random_targets(0), activation=activation)
        assert [float(loss) for loss in losses.values()] == [0, 0]
        sum(losses.values()).backward()
        assert bins.grad is not None and masks.grad is not None

    def test_no_valid_cell(self):
        bins, masks = random_logits()
        targets = random_targets()._replace(valid=torch.zeros(3, S + 2 * P, S + 2 * P, dtype=torch.bool))
        assert float(omn_loss(bins, masks, targets)["loss_mask"]) == 0


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"bin_logits": torch.zeros(2, 4, S, S)}, ValueError, "[3,C,4,4]"),
        ({"bin_logits": torch.zeros(3, 4, 5, 5)}, ValueError, "[3,C,4,4]"),
        ({"bin_logits": torch.zeros(3, 4)}, ValueError, "four dimensions"),
        ({"bin_logits": torch.zeros(3, 3, S, S)}, ValueError, "labels up to 2 bins"),
        ({"bin_logits": torch.zeros(3, 4, S, S, dtype=torch.int64)}, TypeError, "bin_logits"),
        ({"bin_logits": None}, TypeError, "bin_logits a torch.Tensor"),
        ({"mask_logits": torch.zeros(3, 1, 6, 6)}, ValueError, "[3, 1, 8, 8]"),
        ({"mask_logits": torch.zeros(3, 8, 8)}, ValueError, "four dimensions"),
        ({"mask_logits": torch.zeros(3, 1, 8, 8, device="meta")}, ValueError, "meta"),
        ({"targets": (1, 2, 3)}, TypeError, "OMNTargets, got tuple"),
        ({"bin_weights": torch.ones(3)}, ValueError, "bin_weights of shape [4]"),
        ({"bin_weights": [1, 2, 3, 4]}, TypeError, "bin_weights a torch.Tensor"),
        ({"activation": "none"}, ValueError, '"softmax", "sigmoid"'),
        ({"lambda_mask": math.nan}, ValueError, "lambda_mask"),
        ({"lambda_bin": -1.0}, ValueError, "lambda_bin"),
    ],
)
def test_bad_input(change, error, words):
    bins, masks = random_logits()
    arguments = {"bin_logits": bins, "mask_logits": masks, "targets": random_targets(), **change}
    with pytest.raises(error, match="omn_loss: ") as caught:
        omn_loss(**arguments)
    assert words in str(caught.value)
