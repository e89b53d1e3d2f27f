"""Texture synthesis from end to end, on the small random network."""

import pytest
import torch

from cnnfast.features.choice import RandomFilterFeatures
from cnnfast.images import match_histogram
from cnnfast.models.style.picture.levels import RunProgress
from cnnfast.models.style.texture.objective import TextureObjective
from cnnfast.models.style.texture.synthesis import synthesize_texture
from tests.models.style.run_cases import Spoiled, Stop, small_network, smooth_noise, stop_at


@pytest.fixture
def sample():
    return smooth_noise(40, 44)


class TestGravel:
    """The real thing in small: 16 random filters of each size on a 64 px crop."""

    @pytest.fixture
    def gravel(self):
        data = pytest.importorskip("skimage.data")
        return torch.from_numpy(data.gravel()[:64, :64]).float().div(255).expand(3, -1, -1)

    def test_loss_falls_below_a_twentieth_and_statistics_agree(self, gravel):
        losses = []
        picture = synthesize_texture(
            gravel,
            (96, 80),
            extractor=RandomFilterFeatures(16),
            iterations=60,
            match_histogram=False,
            callback=lambda progress: losses.append(progress.loss),
        )
        assert picture.shape == (3, 96, 80)
        assert len(losses) == 60
        assert losses[-1] < 0.05 * losses[0]
        assert (picture.mean((1, 2)) - gravel.mean((1, 2))).abs().max() < 0.02
        assert (picture.std((1, 2)) / gravel.std((1, 2)) - 1).abs().max() < 0.15


class TestResult:
    def test_range_type_and_size(self, sample):
        picture = synthesize_texture(sample, (33, 47), extractor=small_network(), iterations=3)
        assert picture.shape == (3, 33, 47) and picture.dtype == torch.float32
        assert picture.min() >= 0 and picture.max() <= 1

    @pytest.mark.parametrize(
        ("size", "expected"), [(None, (40, 44)), (22, (20, 22)), ((17, 90), (17, 90)), (1, (1, 1))]
    )
    def test_sizes(self, sample, size, expected):
        picture = synthesize_texture(sample, size, extractor=small_network(), iterations=2)
        assert picture.shape == (3, *expected)
        assert torch.isfinite(picture).all()

    def test_same_seed_same_picture(self, sample):
        first, second, other = (
            synthesize_texture(sample, extractor=small_network(), iterations=6, seed=seed) for seed in (1, 1, 2)
        )
        assert torch.equal(first, second)
        assert not torch.equal(first, other)

    def test_histogram_is_the_samples(self, sample):
        options = {"extractor": small_network(), "iterations": 4}
        matched = synthesize_texture(sample, **options)
        for channel in range(3):
            assert torch.equal(matched[channel].flatten().sort().values, sample[channel].flatten().sort().values)
        plain = synthesize_texture(sample, match_histogram=False, **options)
        assert torch.equal(matched, match_histogram(plain, sample))

    def test_grey_stays_grey(self, sample):
        grey = sample.mean(0, keepdim=True).expand(3, -1, -1)
        picture = synthesize_texture(grey, extractor=small_network(), iterations=5)
        assert torch.equal(picture[0], picture[1]) and torch.equal(picture[0], picture[2])

    @pytest.mark.parametrize("bounds", ["sample", "unit", None])
    def test_bounds(self, sample, bounds):
        seen = []
        narrow = 0.3 + 0.2 * sample
        synthesize_texture(
            narrow,
            extractor=small_network(),
            iterations=8,
            bounds=bounds,
            noise_std=0.3,
            match_histogram=False,
            callback=lambda progress: seen.append(progress.image()),
        )
        low, high = {"sample": (narrow.amin((1, 2)), narrow.amax((1, 2)))}.get(bounds, (torch.zeros(3), torch.ones(3)))
        for picture in seen:
            assert (picture.amin((1, 2)) >= low).all() and (picture.amax((1, 2)) <= high).all()

    def test_constant_sample(self):
        flat = torch.full((3, 32, 32), 0.25)
        torch.testing.assert_close(synthesize_texture(flat, extractor=small_network(), iterations=5), flat)

    def test_start_from_a_picture(self, sample):
        picture = synthesize_texture(
            sample, extractor=small_network(), iterations=0, init=sample, match_histogram=False
        )
        torch.testing.assert_close(picture, sample)

    def test_adam_lowers_the_loss(self, sample):
        losses = []
        synthesize_texture(
            sample,
            extractor=small_network(),
            optimizer="adam",
            iterations=60,
            callback=lambda progress: losses.append(progress.loss),
        )
        assert losses[-1] < 0.2 * losses[0]

    def test_gatys_weights_give_relative_losses_too(self, sample):
        losses = []
        synthesize_texture(
            sample,
            extractor=small_network(),
            weights="gatys",
            iterations=30,
            callback=lambda progress: losses.append(progress.loss),
        )
        assert losses[-1] < 0.05 * losses[0] < 1

    def test_ignored_pixels_do_not_matter(self, sample, vgg):
        torch.manual_seed(0)
        spoiled = sample.clone()
        spoiled[:, :16] = torch.rand(3, 16, 44)
        keep = torch.zeros(40, 44)
        keep[24:] = 1
        options = {"extractor": vgg, "iterations": 4}
        first, second = (synthesize_texture(s, pixel_weight=keep, **options) for s in (sample, spoiled))
        assert torch.equal(first, second)
        assert not torch.equal(first, synthesize_texture(spoiled, **options))


class TestColours:
    # Bounds of the channels cut colours off the line: half of this sample's px lie near one.
    @pytest.mark.parametrize(("bounds", "share"), [(None, 0.05), ("sample", 0.15)])
    def test_colours_stay_on_the_samples_line(self, bounds, share):
        """Without the preconditioner and the noise of the sample's colours a share of 0.4 leaves it."""
        line = torch.tensor([0.9, 0.5, 0.2]).view(3, 1, 1)
        sample = torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(4)) * line
        options = {"extractor": small_network(), "iterations": 20, "match_histogram": False}
        picture = synthesize_texture(sample, bounds=bounds, **options)
        off = picture - (picture * line).sum(0) * line / line.square().sum()
        assert off.std() < share * picture.std()


class TestConvergence:
    def test_fine_stripes_that_go_on_at_the_borders(self):
        """Filters with circular padding see a periodic picture, and so must the preconditioner of the optimiser."""
        stripes = (torch.arange(32) // 2 % 2).float().expand(3, 32, 32)
        losses = []
        synthesize_texture(
            stripes, (64, 64), extractor="random", iterations=40, callback=lambda p: losses.append(p.loss)
        )
        assert losses[-1] < 0.1


class TestLevels:
    def test_progress_of_two_levels(self, sample, vgg):
        seen: list[RunProgress] = []
        pictures = []

        def callback(progress):
            seen.append(progress)
            pictures.append(progress.image())

        synthesize_texture(
            sample, (50, 60), extractor=vgg, levels=2, iterations=(3, 2), callback=callback, match_histogram=False
        )
        assert [(p.level, p.levels, p.iteration, p.iterations) for p in seen] == [
            (1, 2, 1, 3), (1, 2, 2, 3), (1, 2, 3, 3), (2, 2, 1, 2), (2, 2, 2, 2),
        ]  # fmt: skip
        assert [p.size for p in seen] == [(25, 30)] * 3 + [(50, 60)] * 2
        assert all(picture.shape == (3, *p.size) for p, picture in zip(seen, pictures, strict=True))

    def test_each_level_starts_from_the_one_before(self, sample, vgg):
        losses = []
        options = {"extractor": vgg, "levels": 2, "callback": lambda p: losses.append((p.level, p.loss))}
        synthesize_texture(sample, iterations=(40, 1), **options)
        synthesize_texture(sample, iterations=(0, 1), **options)
        assert losses[-2][1] < 0.7 * losses[-1][1]

    def test_random_filters_have_one_level(self):
        seen = []
        synthesize_texture(
            torch.rand(3, 130, 140), extractor=small_network(), iterations=1, callback=lambda p: seen.append(p.levels)
        )
        assert seen == [1]

    def test_padding_of_the_extractor_returns(self, sample, vgg):
        synthesize_texture(sample, extractor=vgg, iterations=1, tileable=True)
        assert vgg.padding == "reflect"
        with pytest.raises(Stop):
            synthesize_texture(sample, extractor=vgg, iterations=1, tileable=True, callback=stop_at(1, []))
        assert vgg.padding == "reflect"


class TestTileable:
    def loss_of(self, vgg, sample, picture):
        """Relative loss of a picture taken as one period of the plane, by a window that shows every seam."""
        objective = TextureObjective(vgg, dict.fromkeys(vgg.taps, 1.0), padding="circular")
        objective.capture(sample)
        objective.use_tiles(max(picture.shape), halo=vgg.halo, stride=vgg.stride)
        loss = objective.relative(float(objective(picture)[0]))
        objective.restore()
        return loss

    # With a period that is no multiple of the stride, pooling windows lie differently in every copy.
    @pytest.mark.parametrize(("size", "share"), [((48, 64), 0.1), ((46, 61), 0.5)])
    def test_seams_have_the_texture_too(self, sample, vgg, size, share):
        options = {"extractor": vgg, "levels": 1, "iterations": 80, "match_histogram": False}
        plain, tileable = (synthesize_texture(sample, size, tileable=t, **options) for t in (False, True))
        half = (size[0] // 2, size[1] // 2)
        rolled = [self.loss_of(vgg, sample, p.roll(half, (1, 2))) for p in (plain, tileable)]
        assert rolled[1] < share * rolled[0]

    def test_rolled_picture_has_the_same_loss(self, sample, vgg):
        picture = synthesize_texture(
            sample, (48, 64), extractor=vgg, levels=1, iterations=30, tileable=True, match_histogram=False
        )
        loss, rolled = (self.loss_of(vgg, sample, p) for p in (picture, picture.roll((20, 32), (1, 2))))
        assert abs(loss - rolled) < 1e-3 * loss


class TestTiles:
    def test_tiles_give_the_same_picture(self, sample, vgg):
        options = {"extractor": vgg, "levels": 1, "iterations": 3, "match_histogram": False}
        whole, tiled = (synthesize_texture(sample, (70, 90), tile=tile, **options) for tile in (None, 32))
        torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-4)

    def test_automatic_when_memory_is_short(self, sample, vgg, monkeypatch, caplog):
        from cnnfast.models.style.picture import memory

        options = {"extractor": vgg, "levels": 1, "iterations": 2, "match_histogram": False}
        whole = synthesize_texture(sample, (200, 180), **options)
        assert not caplog.records
        needed = memory.estimate_memory(vgg, 200, 180)
        monkeypatch.setattr(memory, "free_memory", lambda device: int(0.9 * needed / memory.USABLE))
        tiled = synthesize_texture(sample, (200, 180), **options)
        assert len(caplog.records) == 1 and "200x180 px" in caplog.text and "tiles of" in caplog.text
        torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-4)

    def test_larger_than_any_tile_can_help(self, sample, vgg):
        with pytest.raises(ValueError, match="fits into the memory, got 100000x100000 px"):
            synthesize_texture(sample, (100000, 100000), extractor=vgg, levels=1, iterations=1)

    def test_needs_an_extractor_that_tells_its_halo(self, sample):
        with pytest.raises(ValueError, match="halo and stride"):
            synthesize_texture(sample, extractor=Spoiled(set()), tile=32, levels=1)


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"size": 0}, ValueError, "at least 1 px, got 0"),
            ({"size": -5}, ValueError, "at least 1 px, got -5"),
            ({"size": 2.5}, TypeError, "size"),
            ({"optimizer": "sgd"}, ValueError, "optimizer to be one of 'lbfgs', 'adam', got 'sgd'"),
            ({"bounds": "wide"}, ValueError, "bounds to be one of"),
            ({"weights": "other"}, ValueError, "weights to be one of"),
            ({"noise_std": -1.0}, ValueError, "noise_std of at least 0, got -1.0"),
            ({"noise_std": float("nan")}, ValueError, "noise_std"),
            ({"tile": 0}, ValueError, "tile to be 'auto', None or px, got 0"),
            ({"layers": ["relu1_1"]}, ValueError, "layers among random, got relu1_1"),
            ({"layers": "random"}, TypeError, "layers as a sequence"),
            ({"pixel_weight": torch.ones(3, 3)}, ValueError, r"pixel_weight of the sample's shape \[40, 44\]"),
            ({"dtype": torch.bfloat16}, ValueError, "dtype float32 with a module"),
            ({"pixel_weight": torch.zeros(40, 44)}, ValueError, "above 0 somewhere"),
            ({"resume": {"a": 1}}, ValueError, "expected a checkpoint"),
        ],
    )
    def test_bad_options(self, sample, options, error, message):
        with pytest.raises(error, match=message):
            synthesize_texture(sample, **({"extractor": small_network(), "iterations": 1} | options))

    @pytest.mark.parametrize("where", ["sample", "picture"])
    def test_too_small_for_the_network(self, sample, vgg, where):
        image, size = (sample[:, :3], (64, 64)) if where == "sample" else (sample, (64, 3))
        with pytest.raises(ValueError, match=rf"a {where} of at least {vgg.minimum_size} px"):
            synthesize_texture(image, size, extractor=vgg)

    def test_sample_of_one_pixel(self):
        picture = synthesize_texture(torch.full((3, 1, 1), 0.5), (5, 7), extractor=small_network(), iterations=2)
        torch.testing.assert_close(picture, torch.full((3, 5, 7), 0.5))
