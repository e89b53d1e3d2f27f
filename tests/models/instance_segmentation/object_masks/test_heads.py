"""Object mask networks: shapes, start, the equality of soft and hard masks for certain bins, training, bad input."""

from __future__ import annotations

import copy
import io
import math

import pytest
import torch

from tests.models.instance_segmentation.segmentation_cases import shapes_with_boxes

pytest.importorskip("torchvision")

from cnnfast.models.instance_segmentation import OMNHead, OMNHeadFC, decode_bins, omn_loss, omn_targets
from cnnfast.models.instance_segmentation.object_masks.decoding import bin_labels, bin_probabilities
from cnnfast.ops import disc_union

BINS = [(9, 5), (9, 9), (5, 5), (13, 5), (1, 1)]


def small_head(R=9, K=5, **options):
    torch.manual_seed(0)
    return OMNHead(8, R, K, roi_size=7, trunk_channels=(8,), upsampled_channels=8, **options)


def small_fc(R=9, K=5, **options):
    torch.manual_seed(0)
    return OMNHeadFC(4, R, K, roi_size=7, size=12, hidden=16, **options)


def features(count=3, channels=8, seed=0, dtype=torch.float32):
    return torch.rand(count, channels, 7, 7, generator=torch.Generator().manual_seed(seed)).to(dtype)


def certain(labels, K, activation, certainty=200.0):
    """Logits of bins that are certain of the labels [n,S,S]."""
    one_hot = torch.nn.functional.one_hot(labels.long(), K + 1).movedim(3, 1).float()
    return (2 * certainty * one_hot - certainty)[:, activation == "sigmoid" :]


class TestShapes:
    @pytest.mark.parametrize(("R", "K"), BINS)
    @pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
    @pytest.mark.parametrize("decode", ["soft", "hard", "max"])
    def test_grid_and_halo(self, R, K, activation, decode):
        for head, channels in ((small_head, 8), (small_fc, 4)):
            head = head(R, K, activation=activation)
            bins = head(features(channels=channels))
            assert bins.shape == (3, K + (activation == "softmax"), head.size, head.size)
            masks = head.masks(bins, decode)
            side = head.size + 2 * head.halo
            assert masks.shape == head.mask_logits(bins).shape == (3, 1, side, side)
            assert masks.dtype == torch.float32 and masks.min() >= 0 and masks.max() <= 1

    def test_defaults(self):
        head, fully_connected = OMNHead(), OMNHeadFC()
        assert (head.size, head.halo, head.channels, head.activation) == (28, 7, 6, "softmax")
        assert (fully_connected.size, fully_connected.halo, fully_connected.channels) == (21, 7, 5)
        assert OMNHead(R=9, K=9).halo == 8

    def test_no_boxes(self):
        for head, channels in ((small_head(), 8), (small_fc(), 4)):
            bins = head(features(0, channels))
            assert bins.shape[0] == 0
            for decode in ("soft", "hard", "max"):
                assert head.masks(bins, decode).shape == (0, 1, head.size + 14, head.size + 14)

    def test_bins_by_class(self):
        head = small_head(num_classes=4)
        x, labels = features(3), torch.tensor([3, 1, 2])
        chosen = head(x, labels)
        every = head.bins(head.upsample(head.trunk(x)).relu())
        for index, label in enumerate(labels):
            assert torch.equal(chosen[index], every[index, 6 * label : 6 * label + 6])
        assert head(features(0), torch.zeros(0, dtype=torch.int64)).shape == (0, 6, 14, 14)


class TestStart:
    @pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
    @pytest.mark.parametrize("make", [small_head, small_fc])
    def test_background_has_nine_tenths(self, make, activation):
        head = make(activation=activation)
        x = features(4, 8 if make is small_head else 4)
        foreground = bin_probabilities(head(x), activation).sum(1)
        torch.testing.assert_close(foreground.mean(), torch.tensor(0.1), atol=0.02, rtol=0)

    def test_decoder(self):
        head = small_head()
        assert (head.decoder.weight == 4).all() and (head.decoder.bias == -3).all()
        assert head.decoder.radii.tolist() == [0, 1, 3, 5, 7]
        fixed = small_head(learn_weight=False)
        assert not list(fixed.decoder.parameters())
        assert torch.equal(fixed.masks(fixed(features())), head.masks(head(features())))


class TestDecoding:
    @pytest.mark.parametrize(("R", "K"), BINS)
    @pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
    def test_soft_of_certain_bins_is_the_hard_union(self, R, K, activation):
        head = small_head(R, K, activation=activation)
        masks, boxes = shapes_with_boxes(8, 48)
        shapes = omn_targets([masks], [boxes], [torch.arange(8)], R, K, 14).labels
        noise = torch.randint(0, K + 1, (8, 14, 14), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
        noise[torch.rand(noise.shape, generator=torch.Generator().manual_seed(1)) < 0.9] = 0
        for labels in (shapes, noise, torch.zeros_like(noise), torch.full_like(noise, K)):
            union = disc_union(labels, head.decoder.radii.tolist())[:, None]
            logits = certain(labels, K, activation)
            assert torch.equal(bin_labels(logits, activation), labels)
            for decode in ("soft", "hard", "max"):
                assert torch.equal(head.masks(logits, decode) >= 0.5, union)

    def test_small_probabilities_switch_on_from_three_quarters(self):
        head = small_head(1, 1)
        for probability, on in ((0.74, False), (0.76, True)):
            logits = torch.zeros(1, 2, 14, 14)
            logits[:, 1] = math.log(probability / (1 - probability))
            assert bool((head.masks(logits) >= 0.5).all()) == on

    def test_sigmoid_background_wins_below_one_half(self):
        logits = torch.tensor([[-0.1, -2.0], [0.1, -1.0], [0.2, 3.0]]).view(3, 2, 1, 1)
        assert bin_labels(logits, "sigmoid").flatten().tolist() == [0, 1, 2]

    def test_mask_logits_are_those_of_the_soft_mask(self):
        head = small_head()
        bins = head(features())
        torch.testing.assert_close(head.mask_logits(bins).sigmoid(), head.masks(bins, "soft"))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_logits_are_decoded_in_float32(self, dtype):
        head = small_head()
        logits = torch.randn(2, 6, 14, 14, generator=torch.Generator().manual_seed(0)).to(dtype)
        for decode in ("soft", "hard", "max"):
            assert torch.equal(head.masks(logits, decode), head.masks(logits.float(), decode))
        assert head.mask_logits(logits).dtype == torch.float32

    def test_gradients(self):
        head = small_head(3, 3).double()
        logits = torch.randn(1, 4, 14, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        assert torch.autograd.gradcheck(head.mask_logits, logits.requires_grad_(), fast_mode=True)
        head.mask_logits(logits).sum().backward()
        assert head.decoder.weight.grad.abs().min() > 0 and head.decoder.bias.grad == (14 + 2 * head.halo) ** 2


class TestModule:
    @pytest.mark.parametrize("make", [small_head, small_fc])
    def test_state_dict_and_copies(self, make):
        head, fresh = make(), make()
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.add_(0.1)
        file = io.BytesIO()
        torch.save(head.state_dict(), file)
        file.seek(0)
        fresh.load_state_dict(torch.load(file, weights_only=True))
        x = features(2, 8 if make is small_head else 4)
        for twin in (fresh, copy.deepcopy(head)):
            assert torch.equal(twin.masks(twin(x)), head.masks(head(x)))

    def test_a_step_reaches_every_parameter(self):
        for head, channels in ((small_head(), 8), (small_fc(activation="softmax"), 4)):
            masks, boxes = shapes_with_boxes(3, 48)
            targets = omn_targets([masks], [boxes], [torch.arange(3)], 9, 5, head.size)
            bins = head(features(3, channels))
            sum(omn_loss(bins, head.mask_logits(bins), targets).values()).backward()
            for name, parameter in head.named_parameters():
                assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, name

    def test_autocast(self):
        head = small_head()
        with torch.autocast("cpu", torch.bfloat16):
            bins = head(features())
            logits = head.mask_logits(bins)
        assert bins.dtype == torch.bfloat16 and logits.dtype == torch.float32

    @pytest.mark.parametrize(("make", "channels"), [(small_head, 8), (small_fc, 4)])
    def test_learns_one_object(self, make, channels):
        head = make(activation="softmax")
        masks, boxes = shapes_with_boxes(4, 48)
        targets = omn_targets([masks], [boxes], [torch.arange(4)], 9, 5, head.size)
        # Features from which the shapes can be told apart.
        x = features(4, channels) + torch.nn.functional.adaptive_avg_pool2d(targets.labels[:, None].float(), 7)
        optimizer = torch.optim.Adam(head.parameters(), 1e-2)
        losses = []
        for _ in range(60):
            bins = head(x)
            loss = sum(omn_loss(bins, head.mask_logits(bins), targets).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.5 * losses[0]


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "error", "words"),
        [
            ({"R": 4, "K": 5}, ValueError, "OMNHead: expected K from 1 to R = 4, got 5"),
            ({"R": 0, "K": 1}, ValueError, "R a whole number from 1 to 255"),
            ({"K": 2.5}, TypeError, "K an int"),
            ({"activation": "relu"}, ValueError, "activation"),
            ({"num_classes": 1}, ValueError, "num_classes of at least 2"),
        ],
    )
    def test_options(self, options, error, words):
        with pytest.raises(error) as caught:
            small_head(**options)
        assert words in str(caught.value)

    @pytest.mark.parametrize(
        ("x", "error"),
        [
            (torch.zeros(3, 8, 9, 9), ValueError),
            (torch.zeros(8, 7, 7), ValueError),
            (torch.zeros(3, 8, 7, 7, dtype=torch.int64), TypeError),
            (None, TypeError),
        ],
    )
    @pytest.mark.parametrize("make", [small_head, small_fc])
    def test_features(self, make, x, error):
        with pytest.raises(error, match="expected features"):
            make()(x)

    @pytest.mark.parametrize("labels", [None, torch.tensor([1]), torch.tensor([1, 2, 4]), torch.tensor([1, 2, -1])])
    def test_labels(self, labels):
        with pytest.raises(ValueError, match="OMNHead: expected labels"):
            small_head(num_classes=4)(features(3), labels)

    @pytest.mark.parametrize(
        ("logits", "decode", "activation", "error", "words"),
        [
            (torch.zeros(1, 5, 4, 4), "soft", "softmax", ValueError, "[n,6,S,S]"),
            (torch.zeros(1, 6, 4, 4), "soft", "sigmoid", ValueError, "[n,5,S,S]"),
            (torch.zeros(6, 4, 4), "hard", "softmax", ValueError, "[n,6,S,S]"),
            (torch.zeros(1, 6, 4, 4, dtype=torch.int64), "max", "softmax", TypeError, "logits"),
            (torch.zeros(1, 6, 4, 4), "crisp", "softmax", ValueError, "decode"),
            (torch.zeros(1, 6, 4, 4), "max", "tanh", ValueError, "activation"),
        ],
    )
    def test_decode_bins(self, logits, decode, activation, error, words):
        with pytest.raises(error, match="decode_bins: ") as caught:
            decode_bins(logits, small_head().decoder, decode, activation)
        assert words in str(caught.value)
