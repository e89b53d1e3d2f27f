"""The VGG feature network: values, taps, padding, sizes, gradients, dtypes, calibration."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from cnnfast.features.choice import STYLE_LAYERS, TEXTURE_LAYERS
from cnnfast.features.random_filters import RandomFilterFeatures
from cnnfast.features.vgg import VGGFeatures, receptive_field
from cnnfast.weights import VGGWeights, vgg_layer_names


@pytest.fixture
def weights(tiny_vgg):
    return VGGWeights("vgg19", tiny_vgg("vgg19"), "identity", source="a test")


@pytest.fixture
def image():
    return torch.rand(2, 3, 40, 35, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def network(weights, taps, *args, **kwargs):
    return VGGFeatures(None, taps, *args, weights=weights, **{"dtype": torch.float64, **kwargs})


def plain_features(weights, image, pool="max", padding="zeros", first=None):
    """All layers by the plainest functions, nothing in place."""
    result, x = {}, image
    for name in vgg_layer_names(weights.arch):
        if name.startswith("conv"):
            mode = (first or padding) if name == "conv1_1" else padding
            padded = F.pad(x, [1] * 4, "constant" if mode == "zeros" else mode)
            x = F.conv2d(padded, *weights.state[name])
        elif name.startswith("relu"):
            x = x.clamp(min=0)
        elif pool == "max":
            x = F.max_pool2d(x, 2)
        elif pool == "avg":
            x = F.avg_pool2d(x, 2)
        else:
            x = F.avg_pool2d(x.square(), 2).mul(4).sqrt()
        result[name] = x
    return result


class TestVGGValues:
    @pytest.mark.parametrize("pool", ["max", "avg", "l2"])
    @pytest.mark.parametrize("arch", ["vgg16", "vgg19"])
    def test_every_layer(self, arch, pool, tiny_vgg, image):
        """All taps at once: no layer's output is spoilt by the next one working in place."""
        weights = VGGWeights(arch, tiny_vgg(arch), "identity")
        expected = plain_features(weights, image, pool)
        actual = network(weights, list(expected), pool)(image)
        assert list(actual) == list(expected)
        for name in expected:
            torch.testing.assert_close(actual[name], expected[name], msg=name)
        assert (actual["conv3_2"] < 0).any()

    @pytest.mark.parametrize("taps", [["conv1_1"], ["relu1_1", "conv1_1"], ["conv4_2", "pool1"], ["pool3", "relu1_1"]])
    def test_taps_alone_and_in_order(self, taps, weights, image):
        expected = plain_features(weights, image)
        actual = network(weights, taps)(image)
        assert list(actual) == taps
        for name in taps:
            torch.testing.assert_close(actual[name], expected[name], msg=name)

    def test_in_place_exactly_where_safe(self, weights):
        layers = network(weights, ["conv2_1", "relu2_2", "relu3_1"]).layers
        in_place = {name: layer.inplace for name, layer in layers.items() if name.startswith("relu")}
        assert in_place == {"relu1_1": True, "relu1_2": True, "relu2_1": False, "relu2_2": True, "relu3_1": True}
        assert list(layers)[-1] == "relu3_1"

    @pytest.mark.parametrize("padding", ["zeros", "reflect", "replicate", "circular"])
    def test_padding(self, padding, weights, image):
        expected = plain_features(weights, image, "avg", padding)
        changed = network(weights, ["relu4_1"], "avg")
        changed.set_padding(padding)
        for net in (network(weights, ["relu4_1"], "avg", padding), changed):
            assert net.padding == padding
            torch.testing.assert_close(net(image)["relu4_1"], expected["relu4_1"])

    def test_first_padding(self, weights, image):
        net = network(weights, ["pool3"], "max", first_padding="replicate")
        expected = plain_features(weights, image, first="replicate")["pool3"]
        torch.testing.assert_close(net(image)["pool3"], expected)
        assert (expected - plain_features(weights, image)["pool3"]).abs().max() > 1e-6

    def test_circular_features_move_with_the_picture(self, weights):
        net = network(weights, ["relu3_1"], "avg", "circular")
        image = torch.rand(1, 3, 32, 24, dtype=torch.float64)
        moved = net(image.roll((8, -4), (2, 3)))["relu3_1"]
        torch.testing.assert_close(moved, net(image)["relu3_1"].roll((2, -1), (2, 3)))

    def test_pool_scale(self, weights, image):
        first = network(weights, ["pool1"], "avg")(image)["pool1"]
        torch.testing.assert_close(network(weights, ["pool1"], "avg", pool_scale=2.0)(image)["pool1"], 2 * first)

    @pytest.mark.parametrize("name", ["style_step_max_a", "style_step_avg_a"])
    def test_gram_targets_of_a_public_program(self, name, parity):
        """Gram / (C M) of each style layer, from pictures that are already in the network's convention."""
        data = parity(name)
        state = {key.removeprefix("sd/"): torch.from_numpy(data[key]) for key in data if key.startswith("sd/")}
        weights = VGGWeights.from_state_dict(state, "identity")
        assert weights.arch == "vgg19"
        features = network(weights, STYLE_LAYERS, str(data["pool"]))(torch.from_numpy(data["style"]))
        for layer, x in features.items():
            flat = x[0].flatten(1)
            target = torch.from_numpy(data[f"target_{layer}"])
            torch.testing.assert_close(flat @ flat.T / flat.numel(), target, rtol=1e-9, atol=1e-9)

    def test_equals_torchvision(self):
        models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
        torch.manual_seed(0)
        with torch.device("meta"):
            reference = models.vgg19(weights=None).features
        reference.to_empty(device="cpu").eval()
        for parameter in reference.parameters():
            torch.nn.init.normal_(parameter, std=0.06)
        names = vgg_layer_names("vgg19")
        assert len(names) == len(reference)
        weights = VGGWeights.from_state_dict(reference.state_dict(), "caffe")
        image = torch.rand(1, 3, 33, 40)
        actual = VGGFeatures("vgg19", ["relu1_2", "conv3_3", "pool5"], weights=weights)(image)
        x = 255 * image.flip(1) - torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)
        with torch.no_grad():
            for name, layer in zip(names, reference, strict=True):
                x = F.relu(x) if isinstance(layer, torch.nn.ReLU) else layer(x)
                if name in actual:
                    torch.testing.assert_close(actual[name], x, rtol=1e-5, atol=1e-5 * float(x.abs().max()))


class TestVGGGeometry:
    def test_receptive_field_table(self):
        known = {
            "conv1_1": 3, "pool1": 6, "conv2_1": 10, "pool2": 16, "conv3_1": 24, "conv3_4": 48, "pool3": 52,
            "conv4_1": 68, "conv4_4": 116, "pool4": 124, "conv5_1": 156,
        }  # fmt: skip
        assert {layer: receptive_field("vgg19", layer).size for layer in known} == known

    @pytest.mark.parametrize("tap", ["relu1_2", "pool2", "conv3_3", "relu4_1", "pool4"])
    def test_receptive_field_and_halo_by_gradient(self, tap, tiny_vgg):
        state = {name: (torch.ones_like(w), torch.ones_like(b)) for name, (w, b) in tiny_vgg("vgg16").items()}
        net = network(VGGWeights("vgg16", state, "identity"), [tap], "avg")
        size, stride = receptive_field("vgg16", tap)
        assert net.stride == stride and net.halo % stride == 0
        image = torch.rand(1, 3, 3 * 112, 3 * 112, dtype=torch.float64, requires_grad=True)
        position = image.shape[2] // 2 // stride
        (gradient,) = torch.autograd.grad(net(image)[tap][0, 0, position, position], image)
        seen = gradient[0, 0].abs().sum(1).nonzero().flatten()
        low, high = int(seen[0]), int(seen[-1])
        assert high - low + 1 == size
        assert low >= position * stride - net.halo and high < (position + 1) * stride + net.halo

    @pytest.mark.parametrize(
        "tap, padding, minimum",
        [
            ("relu1_1", "zeros", 1), ("relu1_1", "reflect", 2), ("pool1", "zeros", 2), ("relu3_1", "reflect", 8),
            ("relu5_1", "zeros", 16), ("relu5_1", "reflect", 32), ("relu5_1", "circular", 16), ("pool4", "reflect", 16),
            ("pool4", "replicate", 16),
        ],
    )  # fmt: skip
    def test_minimum_size(self, tap, padding, minimum, weights):
        net = network(weights, [tap], "avg", padding)
        assert net.minimum_size == minimum
        assert net(torch.rand(1, 3, minimum, minimum + 3, dtype=torch.float64))[tap].numel() > 0
        if minimum > 1:
            message = f"VGGFeatures: image {minimum - 1}x40 is smaller than {minimum} px needed by {tap}"
            with pytest.raises(ValueError, match=message):
                net(torch.rand(1, 3, minimum - 1, 40, dtype=torch.float64))

    def test_message_of_the_smallest_size(self, weights):
        with pytest.raises(ValueError, match="image 12x40 is smaller than 16 px needed by relu5_1"):
            network(weights, ["relu5_1", "pool2"])(torch.rand(1, 3, 12, 40))


class TestVGGGradients:
    @pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
    def test_only_the_picture(self, memory_format, weights, image):
        net = network(weights, TEXTURE_LAYERS, "avg").to(memory_format=memory_format)
        assert not any(parameter.requires_grad for parameter in net.parameters()) and not net.training
        leaf = image.contiguous(memory_format=memory_format).requires_grad_()
        features = net(leaf)
        assert all(x.is_contiguous(memory_format=memory_format) for x in features.values())
        sum(x.square().sum() for x in features.values()).backward()
        assert all(parameter.grad is None for parameter in net.parameters())
        plain = image.detach().clone().requires_grad_()
        expected = plain_features(weights, plain, "avg")
        sum(expected[name].square().sum() for name in TEXTURE_LAYERS).backward()
        torch.testing.assert_close(leaf.grad, plain.grad)

    @pytest.mark.parametrize("pool", ["max", "avg", "l2"])
    def test_gradcheck(self, pool, weights):
        net = network(weights, ["conv1_2", "relu2_1"], pool, "reflect")
        image = torch.rand(1, 3, 8, 9, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x: tuple(net(x).values()), image, fast_mode=True)

    def test_l2_of_silent_channels(self, tiny_vgg):
        state = {name: (w, b - 100) for name, (w, b) in tiny_vgg().items()}
        net = network(VGGWeights("vgg19", state, "identity"), ["pool2"], "l2")
        image = torch.rand(1, 3, 16, 16, dtype=torch.float64, requires_grad=True)
        pooled = net(image)["pool2"]
        assert pooled.count_nonzero() == 0
        assert torch.autograd.grad(pooled.sum(), image)[0].count_nonzero() == 0

    def test_activations_are_kept_once(self, tiny_vgg):
        """In-place ReLU: backward keeps one map per convolution and the pooled maps, not two per convolution."""
        net = network(VGGWeights("vgg19", tiny_vgg(), "identity"), ["relu4_1"])
        kept = {}

        def keep(tensor):
            kept[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        image = torch.rand(1, 3, 64, 64, dtype=torch.float64, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            net(image)
        own = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
        maps = [t for pointer, t in kept.items() if pointer not in own and t.dim() == 4 and t.dtype == torch.float64]
        assert len(maps) <= 1 + sum(1 for name in net.layers if name[:4] in ("conv", "pool"))

    @pytest.mark.parametrize("pool", ["max", "avg"])
    def test_pooling_behind_a_relu_keeps_a_byte(self, pool, tiny_vgg):
        """In channels_last the map before the pooling is not kept, and values and gradients stay as they were."""
        state = {name: (w.float(), b.float()) for name, (w, b) in tiny_vgg(widths=(64, 64, 128, 128, 128)).items()}
        net = network(
            VGGWeights("vgg19", state, "identity"),
            ["relu1_1", "relu2_2", "relu3_1", "pool3"],
            pool,
            dtype=torch.float32,
            pool_scale=0.5,
        )
        image = torch.rand(1, 3, 34, 45, generator=torch.Generator().manual_seed(0))
        results, kept = [], []
        for layout in (torch.contiguous_format, torch.channels_last):
            net.to(memory_format=layout)
            leaf = image.contiguous(memory_format=layout).requires_grad_()
            maps = {}
            with torch.autograd.graph.saved_tensors_hooks(
                lambda t, maps=maps: maps.setdefault(t.untyped_storage().data_ptr(), t), lambda t: t
            ):
                features = list(net(leaf).values())
            kept.append([[*t.shape] for t in maps.values() if t.dtype is torch.float32])
            loss = sum(f.square().mean() for f in features)
            results.append((features, torch.autograd.grad(loss, leaf)[0]))
        for actual, expected in zip(results[1][0], results[0][0], strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(results[1][1], results[0][1], rtol=1e-3, atol=1e-5)
        before_pooling = ([1, 64, 34, 45], [1, 64, 17, 22], [1, 128, 8, 11])
        counts = [[shapes.count(size) for size in before_pooling] for shapes in kept]
        # relu1_1 stays in the first block and relu2_2, which is asked for, in the second; relu3_1 to 3_3 in the third.
        assert counts == [[2, 2, 4], [1, 2, 3]]

    def test_stream_computes_a_layer_when_it_is_asked_for(self, weights, image):
        net = network(weights, ["relu3_1", "pool1", "relu1_1"])
        done = []
        for name, layer in net.layers.items():
            layer.register_forward_hook(lambda *_, name=name: done.append(name))
        stream = net.stream(image)
        assert [next(stream)[0], done[-1]] == ["relu1_1"] * 2
        assert [next(stream)[0], done[-1]] == ["pool1"] * 2
        assert [next(stream)[0], done[-1]] == ["relu3_1"] * 2
        assert next(stream, None) is None
        assert list(net(image)) == ["relu3_1", "pool1", "relu1_1"]

    def test_compile_and_copy(self, weights, image):
        net = network(weights, ["conv2_1", "pool2"], "avg", "reflect")
        compiled = torch.compile(net, fullgraph=True, backend="eager", dynamic=True)
        for picture in (image, image[..., :30, :28]):
            for name, x in compiled(picture).items():
                torch.testing.assert_close(x, net(picture)[name])
        again = network(
            VGGWeights("vgg19", {k: (w + 1, b) for k, (w, b) in weights.state.items()}, "identity"), net.taps
        )
        again.load_state_dict(copy.deepcopy(net).state_dict())
        again.set_padding("reflect")
        assert all(
            torch.equal(layer.weight, net.layers[name].weight) for name, layer in again.layers.items() if "conv" in name
        )


class TestVGGDtypes:
    def test_bfloat16_convolutions(self, tiny_vgg):
        """A rounded activation may choose another side of a ReLU: so the gradient differs more than the features."""
        weights = VGGWeights("vgg19", tiny_vgg(), "torchvision")
        image = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0)).requires_grad_()
        half = VGGFeatures(None, STYLE_LAYERS, "avg", weights=weights, compute_dtype=torch.bfloat16)
        exact = VGGFeatures(None, STYLE_LAYERS, "avg", weights=weights)
        assert all(parameter.dtype == torch.float32 for parameter in half.parameters())
        losses = []
        for net, dtype in ((half, torch.bfloat16), (exact, torch.float32)):
            features = net(image)
            assert all(x.dtype == dtype for x in features.values())
            losses.append([x.float().square().mean() for x in features.values()])
        torch.testing.assert_close(*map(torch.stack, losses), rtol=0.03, atol=0)
        gradient, expected = (torch.autograd.grad(sum(terms), image)[0] for terms in losses)
        assert gradient.dtype == torch.float32 and (gradient - expected).norm() < 0.1 * expected.norm()

    def test_under_autocast(self, tiny_vgg):
        net = VGGFeatures(None, ["conv1_2"], padding="reflect", weights=VGGWeights("vgg19", tiny_vgg(), "torchvision"))
        image = torch.rand(1, 3, 20, 20)
        with torch.autocast("cpu", torch.bfloat16):
            actual = net(image)["conv1_2"]
        assert actual.dtype == torch.bfloat16
        torch.testing.assert_close(actual.float(), net(image)["conv1_2"], rtol=0.05, atol=0.05)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_picture_of_another_dtype(self, dtype, tiny_vgg):
        net = VGGFeatures(None, ["relu2_1"], weights=VGGWeights("vgg19", tiny_vgg(), "caffe"))
        image = torch.rand(1, 3, 16, 16).to(dtype)
        assert torch.equal(net(image)["relu2_1"], net(image.float())["relu2_1"])


class TestCalibration:
    def test_mean_activation_is_one_and_function_kept(self, weights):
        taps = [name for name in vgg_layer_names("vgg19") if name < "conv5" or name < "pool4"]
        taps = taps[: taps.index("conv4_3") + 1]
        before = network(weights, taps, "avg", "reflect")
        after = network(weights, taps, "avg", "reflect")
        generator = torch.Generator().manual_seed(3)
        images = [
            torch.rand(b, 3, h, w, generator=generator, dtype=torch.float64) for b, h, w in ((2, 24, 40), (1, 32, 17))
        ]
        assert after.normalise_(images, floor=0.0) is after
        live = 0
        sums, counts = {}, {}
        for image in images:
            old, new = before(image), after(image)
            for name in taps:
                ratio = self.constant_ratio(old[name], new[name], name)
                live += int(ratio.isfinite().sum())
                sums[name] = sums.get(name, 0) + new[name].sum((0, 2, 3))
                counts[name] = counts.get(name, 0) + new[name].numel() // new[name].shape[1]
        assert live > 100
        for name in taps:
            if name.startswith("relu"):
                mean = sums[name] / counts[name]
                torch.testing.assert_close(mean[mean > 0], torch.ones_like(mean[mean > 0]), msg=name)
        assert all(
            torch.equal(a, b)
            for a, b in zip(weights.state["conv1_1"], before.layers["conv1_1"].parameters(), strict=True)
        )

    @staticmethod
    def constant_ratio(old, new, name):
        """Per channel, the factor between two maps, after asserting that it is one number over all positions."""
        old, new = (x.transpose(0, 1).flatten(1) for x in (old, new))
        ratio = new.square().sum(1).sqrt() / old.square().sum(1).sqrt()
        alive = ratio.isfinite()
        torch.testing.assert_close(new[alive], old[alive] * ratio[alive, None], rtol=1e-8, atol=1e-8, msg=name)
        return ratio

    def test_floor_bounds_the_gain(self, weights, image):
        state = dict(weights.state)
        weight, bias = (t.clone() for t in state["conv2_1"])
        weight[0], bias[0] = weight[0] * 1e-6, 1e-6
        state["conv2_1"] = weight, bias
        faint = VGGWeights("vgg19", state, "identity")
        means = network(faint, ["relu2_1"])(image)["relu2_1"].mean((0, 2, 3))
        net = network(faint, ["relu2_1"]).normalise_(image, floor=0.1)
        result = net(image)["relu2_1"].mean((0, 2, 3))
        floor = 0.1 * means.median()
        torch.testing.assert_close(result, means / means.clamp(min=floor))
        assert result[0] < 0.01

    def test_dead_layer_stays_finite(self, tiny_vgg, image):
        state = {name: (w, b - 100) for name, (w, b) in tiny_vgg().items()}
        net = network(VGGWeights("vgg19", state, "identity"), ["relu2_1"]).normalise_(image)
        assert all(parameter.isfinite().all() for parameter in net.parameters())

    @pytest.mark.parametrize("images", [[], torch.rand(0, 3, 32, 32)])
    def test_no_images(self, images, weights):
        with pytest.raises(ValueError, match="expected at least one image"):
            network(weights, ["relu2_1"]).normalise_(images)

    def test_floor_out_of_range(self, weights, image):
        with pytest.raises(ValueError, match=r"expected floor in \[0,1\], got 2"):
            network(weights, ["relu2_1"]).normalise_(image, floor=2)


class TestErrors:
    @pytest.mark.parametrize(
        "options, error, message",
        [
            ({"taps": "relu1_1"}, TypeError, "expected taps a sequence of layer names, got 'relu1_1'"),
            ({"taps": None}, TypeError, "expected taps a sequence of layer names, got None"),
            ({"taps": []}, ValueError, "one or more different taps"),
            ({"taps": ["pool1", "pool1"]}, ValueError, "one or more different taps"),
            ({"taps": ["relu6_1"]}, ValueError, r"expected taps of vgg19 \(conv1_1 ... pool5\), got 'relu6_1'"),
            ({"pool": "mean"}, ValueError, "expected pool .* got 'mean'"),
            ({"padding": "valid"}, ValueError, "expected padding .* got 'valid'"),
            ({"first_padding": "valid"}, ValueError, "expected padding .* got 'valid'"),
            ({"pool_scale": 0.0}, ValueError, "expected pool_scale positive"),
            ({"compute_dtype": torch.int8}, TypeError, "expected compute_dtype"),
            ({"dtype": torch.float16}, TypeError, "expected dtype"),
            ({"arch": "vgg16"}, ValueError, "expected weights of vgg16, got vgg19 from a test"),
        ],
    )
    def test_options(self, options, error, message, weights):
        arguments = {"arch": None, "taps": ["relu1_1"], "weights": weights, **options}
        with pytest.raises(error, match=message):
            VGGFeatures(**arguments)

    @pytest.mark.parametrize(
        "image, error, message",
        [
            (torch.rand(3, 32, 32), ValueError, r"expected image of shape \[B,3,H,W\], got \[3, 32, 32\]"),
            (torch.rand(1, 1, 32, 32), ValueError, r"expected image of shape \[B,3,H,W\]"),
            (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), TypeError, "floating dtype in .* got torch.uint8"),
            ("cat.png", TypeError, "expected image a Tensor, got str"),
        ],
    )
    def test_image(self, image, error, message, weights):
        for net in (network(weights, ["relu1_1"]), RandomFilterFeatures(1, (3,))):
            with pytest.raises(error, match=message):
                net(image)
