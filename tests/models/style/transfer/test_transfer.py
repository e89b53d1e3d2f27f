"""Style transfer from end to end, on small networks."""

import math

import pytest
import torch

from cnnfast.features.choice import VGGFeatures
from cnnfast.models import style as room
from cnnfast.models.style.picture.colour import luminance, match_colour, rgb_to_yuv
from cnnfast.models.style.transfer.presets import STYLE_PRESETS
from cnnfast.models.style.transfer.regions import StyleRegions
from cnnfast.models.style.transfer.transfer import plan_stylize, style_network, stylize
from cnnfast.weights import VGGWeights
from tests.models.style.run_cases import Spoiled, small_network, smooth_noise


@pytest.fixture(scope="module")
def content():
    """A bright disc on a dark slope."""
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 40), torch.linspace(-1.2, 1.2, 48), indexing="ij")
    disc = (rows**2 + columns**2 < 0.4).float()
    return torch.stack([0.2 + 0.6 * disc, 0.3 + 0.1 * rows + 0.3 * disc, 0.4 - 0.2 * disc])


@pytest.fixture(scope="module")
def stripes():
    phase = torch.arange(44)[:, None] * 0.9 + torch.arange(36)[None] * 0.5
    return torch.stack([0.5 + 0.4 * torch.sin(phase + shift) for shift in (0.0, 0.7, 2.0)])


@pytest.fixture
def style_vgg(tiny_vgg):
    state = {name: tuple(t.float() for t in pair) for name, pair in tiny_vgg("vgg19").items()}
    taps = ("relu1_1", "relu2_1", "relu3_1", "relu2_2")
    return VGGFeatures(None, taps, padding="reflect", weights=VGGWeights("vgg19", state, "caffe"))


OF_VGG = {"content_layers": ["relu2_2"], "style_layers": {"relu1_1": 1.0, "relu2_1": 1.0, "relu3_1": 0.5}}


def run(content, style, **options):
    losses = []
    options = {"size": None, "levels": 1, "iterations": 4, "callback": lambda p: losses.append(p.loss)} | options
    return stylize(content, style, **options), losses


def gram_distance(network, a, b):
    grams = []
    for picture in (a, b):
        features = network(picture[None])["random"].flatten(2)[0]
        grams.append(features @ features.T / features.shape[1])
    return float((grams[0] - grams[1]).square().sum())


class TestResult:
    def test_takes_the_style_and_keeps_the_content(self, content, stripes):
        network = small_network()
        options = {"content_weight": 1.0, "style_weight": 0.3}
        picture, losses = run(content, stripes, extractor=network, iterations=60, **options)
        assert losses[-1] < 0.5 * losses[0]
        assert gram_distance(network, picture, stripes) < 0.12 * gram_distance(network, content, stripes)
        correlation = torch.corrcoef(torch.stack([luminance(p)[0].flatten() for p in (picture, content)]))[0, 1]
        assert correlation > 0.55

    def test_is_a_function_of_its_room(self):
        assert room.stylize is stylize and "stylize" in dir(room)

    @pytest.mark.parametrize(
        ("size", "expected"), [(None, (40, 48)), (24, (20, 24)), ((17, 60), (17, 60)), (1, (1, 1))]
    )
    def test_sizes(self, content, stripes, size, expected):
        picture, _ = run(content, stripes, size=size, extractor=small_network(), iterations=2)
        assert picture.shape == (3, *expected) and picture.dtype == torch.float32
        assert picture.min() >= 0 and picture.max() <= 1

    @pytest.mark.parametrize("preset", STYLE_PRESETS)
    def test_presets_lower_the_loss(self, content, stripes, style_vgg, preset):
        picture, losses = run(content, stripes, preset=preset, extractor=style_vgg, iterations=25, **OF_VGG)
        assert losses[-1] < 0.5 * losses[0]
        assert torch.isfinite(picture).all() and picture.min() >= 0 and picture.max() <= 1

    def test_content_weight_alone_gives_the_content(self, content, stripes, style_vgg):
        picture, _ = run(content, stripes, style_weight=0.0, extractor=style_vgg, **OF_VGG)
        torch.testing.assert_close(picture, content.clamp(0, 1))

    def test_weights_pull_their_way(self, content, stripes, style_vgg):
        def apart(**weights):
            picture, _ = run(content, stripes, extractor=style_vgg, iterations=20, **OF_VGG, **weights)
            features, wanted = (style_vgg(p[None])["relu2_2"] for p in (picture, content))
            return (features - wanted).norm()

        assert apart(content_weight=1e5) < 0.7 * apart()

        def roughness(**weights):
            options = {"preset": "crowson", "extractor": style_vgg, "iterations": 40, **OF_VGG}
            picture, _ = run(stripes, content, **options, **weights)
            return (picture[..., 1:] - picture[..., :-1]).abs().mean()

        assert roughness(tv_weight=1e4) < 0.5 * roughness(tv_weight=0.0)

    def test_adam(self, content, stripes, style_vgg):
        _, losses = run(content, stripes, extractor=style_vgg, optimizer="adam", iterations=60, **OF_VGG)
        assert losses[-1] < 0.5 * losses[0]

    def test_style_scale_changes_the_statistics(self, content, stripes):
        first, second = (run(content, stripes, extractor=small_network(), style_scale=scale)[0] for scale in (1.0, 0.5))
        assert not torch.equal(first, second)

    def test_grey_stays_grey(self, content, stripes):
        picture, _ = run(content[:1], stripes[:1].expand(3, -1, -1), extractor=small_network())
        assert torch.equal(picture[0], picture[1]) and torch.equal(picture[0], picture[2])

    def test_layers_and_dtype(self, content, stripes, tiny_vgg, monkeypatch):
        state = {name: tuple(t.float() for t in pair) for name, pair in tiny_vgg("vgg19").items()}
        weights = VGGWeights("vgg19", state, "caffe")
        network = style_network("vgg", preset="crowson", weights=weights, dtype=torch.bfloat16)
        assert set(network.taps) == {"relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1", "relu4_2"}
        assert network.compute_dtype == torch.bfloat16
        assert network.layers["conv1_1"].padding_mode == "replicate" and network.padding == "zeros"
        chosen = style_network("vgg", weights=weights, content_layers=["relu3_2"], style_layers={"conv2_1": 2.0})
        assert chosen.taps == ("conv2_1", "relu3_2") and chosen.padding == "reflect"
        monkeypatch.setattr("cnnfast.features.choice.auto_weights", lambda: None)
        assert style_network().taps == ("random",)
        picture, _ = run(content, stripes, extractor=network, preset="crowson")
        assert torch.isfinite(picture).all()


class TestStart:
    def test_content_noise_and_picture(self, content, stripes):
        options = {"extractor": small_network(), "iterations": 0}
        assert torch.equal(run(content, stripes, **options)[0], content)
        other = smooth_noise(20, 24)
        start = run(content, stripes, init=other, size=(20, 24), **options)[0]
        assert torch.equal(start, other)
        noise = run(content, stripes, init="noise", **options)[0]
        assert (noise.mean((1, 2)) - stripes.mean((1, 2))).abs().max() < 0.01
        assert 0.01 < noise.std() < 0.2

    def test_seeds(self, content, stripes):
        options = {"extractor": small_network(), "init": "noise"}
        first, second, other = (run(content, stripes, seed=seed, **options)[0] for seed in (1, 1, 2))
        assert torch.equal(first, second) and not torch.equal(first, other)

    def test_presets_have_starts_of_their_own(self, content, stripes, style_vgg):
        for preset, begins in (("cnnfast", True), ("crowson", True), ("gatys2016", False), ("neural-style", False)):
            picture, _ = run(content, stripes, preset=preset, extractor=style_vgg, iterations=0, **OF_VGG)
            assert torch.equal(picture, content) == begins


class TestStyles:
    def test_blend_of_one_is_that_style(self, content, stripes):
        other = smooth_noise(30, 30)
        options = {"extractor": small_network()}
        alone = run(content, stripes, **options)[0]
        blended = run(content, [stripes, other], style_blend=[2.0, 0.0], **options)[0]
        torch.testing.assert_close(blended, alone, rtol=0, atol=1e-5)
        equal = run(content, (stripes, other), **options)[0]
        assert not torch.allclose(equal, alone, atol=1e-3)
        halves = run(content, [stripes, other], style_blend=[3.0, 3.0], **options)[0]
        assert torch.equal(equal, halves)

    def test_regions_take_their_own_styles(self, content):
        """A red style on the left, a blue one on the right."""
        red, blue = (torch.tensor(c)[:, None, None] * (0.5 + 0.5 * smooth_noise(40, 40)) for c in
                     ([0.9, 0.2, 0.2], [0.2, 0.2, 0.9]))  # fmt: skip
        left = torch.zeros(1, 40, 48)
        left[..., :24] = 1
        nowhere, everywhere = torch.zeros(1, 40, 40), torch.ones(1, 40, 40)
        regions = StyleRegions(
            torch.cat([left, 1 - left]),
            [torch.cat([everywhere, nowhere]), torch.cat([nowhere, everywhere])],
        )
        options = {"extractor": small_network(), "iterations": 60, "content_weight": 0.0}
        picture, _ = run(content, [red, blue], regions=regions, **options)
        warmth = (picture[0] - picture[2]).mean(0)
        assert warmth[2:20].min() > 0.05 and warmth[28:46].max() < -0.05

    @pytest.mark.parametrize("guides", ["simple", "inside", "all"])
    def test_guides(self, content, stripes, style_vgg, guides):
        left = torch.zeros(1, 40, 48)
        left[..., :30] = 1
        regions = StyleRegions(left, [torch.ones(1, 44, 36)], guides)
        picture, losses = run(content, stripes, regions=regions, extractor=style_vgg, iterations=15, **OF_VGG)
        assert losses[-1] < losses[0]
        moved = (picture - content).abs().mean((0, 1))
        assert moved[:20].mean() > 3 * moved[-4:].mean()

    def test_a_region_too_narrow_for_any_layer(self, content, stripes, style_vgg):
        line = torch.zeros(1, 40, 48)
        line[..., 20:22] = 1
        regions = StyleRegions(line, [torch.ones(1, 44, 36)], "inside")
        with pytest.raises(ValueError, match=r"positions in the regions of some style layer, got none \(inside"):
            run(content, stripes, regions=regions, extractor=style_vgg, **OF_VGG)

    def test_every_level_and_tile_has_its_regions(self, content, stripes, style_vgg):
        left = torch.zeros(1, 40, 48)
        left[..., :30] = 1
        regions = StyleRegions(torch.cat([left, 1 - left]), [torch.ones(2, 44, 36)])
        options = {"regions": regions, "extractor": style_vgg, "levels": 2, "iterations": (3, 3), **OF_VGG}
        whole, tiled = (run(content, stripes, tile=tile, **options)[0] for tile in (None, 16))
        torch.testing.assert_close(tiled, whole, rtol=0, atol=2e-4)


class TestColours:
    def test_luminance_keeps_the_chroma(self, content, stripes):
        picture, _ = run(content, stripes, extractor=small_network(), preserve_color="luminance", iterations=4)
        unclipped = ((picture > 0.01) & (picture < 0.99)).all(0)
        chroma, of_content = rgb_to_yuv(picture)[1:], rgb_to_yuv(content)[1:]
        assert unclipped.float().mean() > 0.5
        assert (chroma - of_content)[:, unclipped].abs().max() < 0.02
        assert (luminance(picture) - luminance(content)).abs().max() > 0.05

    def test_original_is_a_step_afterwards(self, content, stripes):
        plain, kept = (
            run(content, stripes, extractor=small_network(), preserve_color=kind)[0] for kind in (None, "original")
        )
        unclipped = ((kept > 0.01) & (kept < 0.99)).all(0)
        assert (luminance(kept) - luminance(plain))[:, unclipped].abs().max() < 1e-4

    @pytest.mark.parametrize("mode", ["pca", "chol", "sym"])
    def test_match_recolours_the_style(self, content, stripes, mode):
        recoloured = match_colour(stripes, content, mode)
        options = {"extractor": small_network(), "iterations": 3}
        matched = run(content, stripes, preserve_color="match", color_match=mode, **options)[0]
        assert torch.equal(matched, run(content, recoloured, **options)[0])
        assert not torch.equal(matched, run(content, stripes, **options)[0])

    def test_match_style_recolours_the_content(self, content, stripes):
        picture, _ = run(content, stripes, extractor=small_network(), preserve_color="match_style", iterations=0)
        assert (picture.mean((1, 2)) - stripes.mean((1, 2))).abs().max() < 0.05


class TestLevels:
    def test_styles_shrink_with_the_picture(self):
        plan = plan_stylize((384, 512), [(100, 50), (800, 1000)], 512, torch.nn.Identity(), style_scale=0.5)
        assert [level.picture for level in plan] == [(96, 128), (192, 256), (384, 512)]
        assert [level.styles for level in plan] == [
            ((12, 6), (51, 64)), ((25, 12), (102, 128)), ((50, 25), (205, 256)),
        ]  # fmt: skip

    def test_levels_leave_the_network_its_size(self, style_vgg):
        assert len(plan_stylize((600, 600), [(600, 600)], 512, style_vgg)) == 3
        assert len(plan_stylize((600, 600), [(600, 20)], 512, style_vgg)) == 2

    def test_crowson_goes_by_roots_of_two(self):
        plan = plan_stylize((300, 400), [(400, 300)], 400, torch.nn.Identity(), preset="crowson")
        assert [max(level.picture) for level in plan] == [141, 200, 283, 400]
        assert [level.iterations for level in plan] == [1000, 500, 500, 500]

    def test_each_level_starts_from_the_one_before(self, content, stripes, style_vgg):
        seen = []
        options = {"extractor": style_vgg, "levels": 2, "size": None, **OF_VGG}
        for coarse in (40, 0):
            stylize(content, stripes, iterations=(coarse, 1), callback=seen.append, **options)
        assert [p.size for p in (seen[0], seen[-1])] == [(20, 24), (40, 48)]
        assert seen[-2].loss < 0.7 * seen[-1].loss

    def test_padding_of_the_extractor_stays(self, content, stripes, style_vgg):
        run(content, stripes, extractor=style_vgg, **OF_VGG)
        assert style_vgg.padding == "reflect"


class TestMemory:
    def test_automatic_tiles_when_memory_is_short(self, content, stripes, style_vgg, monkeypatch, caplog):
        from cnnfast.models.style.picture import memory

        options = {"extractor": style_vgg, "size": (200, 180), "iterations": 1, **OF_VGG}
        whole = run(content, stripes, **options)[0]
        assert not caplog.records
        kept = memory.optimizer_bytes("lbfgs", 3 * 200 * 180)
        evaluation = memory.estimate_memory(style_vgg, 200, 180) - kept
        monkeypatch.setattr(memory, "free_memory", lambda device: int((kept + 0.8 * evaluation) / memory.USABLE))
        tiled = run(content, stripes, **options)[0]
        assert "200x180 px" in caplog.text and "tiles of" in caplog.text
        torch.testing.assert_close(tiled, whole, rtol=0, atol=5e-4)

    def test_larger_than_any_tile_can_help(self, content, stripes, style_vgg):
        with pytest.raises(ValueError, match="stylize: expected a picture that fits into the memory"):
            run(content, stripes, extractor=style_vgg, size=100_000, **OF_VGG)


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"size": 0}, ValueError, "at least 1 px, got 0"),
            ({"size": 2.5}, TypeError, "size"),
            ({"preset": "best"}, ValueError, "preset to be one of 'cnnfast', 'gatys2016'"),
            ({"optimizer": "sgd"}, ValueError, "optimizer to be one of 'lbfgs', 'adam', got 'sgd'"),
            ({"style_blend": [1, 2]}, ValueError, "style_blend of 1 numbers, got 2"),
            ({"style_blend": [-1.0]}, ValueError, "style_blend of at least 0, got -1.0"),
            ({"style_blend": [0.0]}, ValueError, "a number above 0"),
            ({"content_weight": -1.0}, ValueError, "content_weight of at least 0, got -1.0"),
            ({"style_weight": math.inf}, ValueError, "finite style_weight"),
            ({"tv_weight": "much"}, TypeError, "tv_weight as a number, got 'much'"),
            ({"content_weight": 0, "style_weight": 0}, ValueError, "content_weight or style_weight above 0"),
            ({"style_scale": 0}, ValueError, "style_scale above 0, got 0"),
            ({"style_scale": math.nan}, ValueError, "style_scale"),
            ({"preserve_color": "some"}, ValueError, "preserve_color to be one of None, 'luminance'"),
            ({"color_match": "mean"}, ValueError, "color_match to be one of 'pca', 'chol', 'sym'"),
            ({"content_layers": ["relu9_9"]}, ValueError, "content_layers among random, got relu9_9"),
            ({"style_layers": "random"}, TypeError, "style_layers as a sequence"),
            ({"style_layers": {"random": -1}}, ValueError, "weight of random of at least 0, got -1"),
            ({"levels": 0}, ValueError, "levels to be 'auto' or at least 1, got 0"),
            ({"iterations": (1, 2)}, ValueError, "iterations for 1 levels, got 2 numbers"),
            ({"tile": 0}, ValueError, "tile to be 'auto', None or px, got 0"),
            ({"dtype": torch.bfloat16}, ValueError, "dtype float32 with a module"),
            ({"resume": {"a": 1}}, ValueError, "a checkpoint of style transfer"),
            ({"regions": StyleRegions(torch.ones(1, 3, 3), [torch.ones(1, 44, 36)])}, ValueError, "content masks"),
        ],
    )
    def test_bad_options(self, content, stripes, options, error, message):
        with pytest.raises(error, match=message):
            run(content, stripes, **({"extractor": small_network()} | options))

    def test_no_style(self, content):
        with pytest.raises(ValueError, match="at least one style, got none"):
            run(content, [], extractor=small_network())

    def test_too_small_for_the_network(self, content, stripes, style_vgg):
        with pytest.raises(ValueError, match="stylize: expected a style of at least 8 px on every level, got 44x3 px"):
            run(content, stripes[..., :3], extractor=style_vgg, **OF_VGG)

    def test_tiles_need_an_extractor_that_tells_its_halo(self, content, stripes):
        with pytest.raises(ValueError, match="stylize: expected an extractor with halo and stride"):
            run(content, stripes, extractor=Spoiled(set()), tile=32)
