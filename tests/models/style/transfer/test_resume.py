"""Style transfer interrupted and resumed, and with NaN in the middle."""

import dataclasses
import io

import pytest
import torch

from cnnfast.models.style.transfer.presets import STYLE_PRESETS
from cnnfast.models.style.transfer.regions import StyleRegions
from cnnfast.models.style.transfer.transfer import stylize
from tests.models.style.run_cases import Spoiled, Stop, interrupted_in_call, small_network, smooth_noise, stop_at


@pytest.fixture
def pictures():
    return smooth_noise(40, 44), smooth_noise(36, 30, seed=6)


def options_for(vgg, **changes):
    layers = {"content_layers": ["pool1"], "style_layers": ["relu1_1", "pool2"]}
    return {"size": None, "extractor": vgg, "levels": 2, "iterations": (4, 4), **layers} | changes


class TestResume:
    @pytest.mark.parametrize("preset", ["cnnfast", "crowson"])
    @pytest.mark.parametrize("count", [1, 4, 5, 8])
    def test_bit_identical_from_any_iteration(self, pictures, vgg, tmp_path, preset, count):
        options = options_for(vgg, preset=preset)
        whole = stylize(*pictures, **options)
        kept = []
        with pytest.raises(Stop):
            stylize(*pictures, callback=stop_at(count, kept), **options)
        path = tmp_path / "run.pt"
        torch.save(kept[0].checkpoint(), path)
        seen = []
        resumed = stylize(*pictures, resume=path, callback=seen.append, **options)
        assert len(seen) == 8 - count
        assert torch.equal(resumed, whole)

    def test_with_regions_colours_and_noise(self, pictures, vgg):
        regions = StyleRegions(torch.ones(1, 40, 44), [torch.ones(1, 36, 30)])
        options = options_for(vgg, regions=regions, preserve_color="luminance", init="noise", tile=16)
        whole = stylize(*pictures, **options)
        kept = []
        with pytest.raises(KeyboardInterrupt):
            stylize(*pictures, callback=stop_at(6, kept, KeyboardInterrupt), **options)
        buffer = io.BytesIO()
        torch.save(kept[0].checkpoint(), buffer)
        buffer.seek(0)
        loaded = torch.load(buffer, weights_only=True)
        assert torch.equal(stylize(*pictures, resume=loaded, **options), whole)

    def test_interrupt_in_the_middle_of_an_evaluation(self, pictures):
        network = small_network()
        options = {"size": None, "levels": 1, "iterations": 9, "extractor": network}
        whole = stylize(*pictures, **options)
        progress = []
        with interrupted_in_call(network, 8), pytest.raises(KeyboardInterrupt):
            stylize(*pictures, callback=progress.append, **options)
        assert torch.isfinite(progress[-1].image()).all()
        assert torch.equal(stylize(*pictures, resume=progress[-1].checkpoint(), **options), whole)

    @pytest.mark.parametrize(
        ("change", "name"),
        [
            ({"seed": 3}, "seed"),
            ({"size": (40, 40)}, "plan"),
            ({"preset": "gatys2016"}, "preset"),
            ({"optimizer": "adam"}, "optimizer"),
            ({"style_weight": 5.0}, "weights"),
            ({"style_layers": ["relu1_1"]}, "style_layers"),
            ({"preserve_color": "match"}, "preserve_color"),
            ({"init": "noise"}, "init"),
            ({"regions": StyleRegions(torch.ones(1, 40, 44), [torch.ones(1, 36, 30)])}, "regions"),
        ],
    )
    def test_other_settings_are_refused(self, pictures, vgg, change, name):
        options = options_for(vgg)
        kept = []
        with pytest.raises(Stop):
            stylize(*pictures, callback=stop_at(1, kept), **options)
        with pytest.raises(ValueError, match=rf"stylize: expected the settings of the checkpoint \(.*{name}="):
            stylize(*pictures, resume=kept[0].checkpoint(), **(options | change))

    def test_other_pictures_are_refused(self, pictures, vgg):
        options, kept = options_for(vgg), []
        with pytest.raises(Stop):
            stylize(*pictures, callback=stop_at(1, kept), **options)
        for name, others in (("content=", (1 - pictures[0], pictures[1])), ("styles=", (pictures[0], 1 - pictures[1]))):
            with pytest.raises(ValueError, match=name):
                stylize(*others, resume=kept[0].checkpoint(), **options)

    def test_checkpoint_of_a_texture_is_refused(self, pictures, vgg):
        from cnnfast.models.style.texture.synthesis import synthesize_texture

        kept = []
        with pytest.raises(Stop):
            synthesize_texture(pictures[0], extractor=vgg, iterations=1, callback=stop_at(1, kept))
        with pytest.raises(ValueError, match="expected a checkpoint of style transfer"):
            stylize(*pictures, resume=kept[0].checkpoint(), **options_for(vgg))


class TestAdamBetweenLevels:
    def test_the_second_level_begins_with_the_moments_of_the_first(self, pictures, vgg, monkeypatch):
        """The first step of a level is as long as the moments say; without them Adam's is the learning rate."""
        preset = dataclasses.replace(STYLE_PRESETS["crowson"], bounds=None)
        monkeypatch.setitem(STYLE_PRESETS, "crowson", preset)
        seen = []
        stylize(*pictures, callback=seen.append, **options_for(vgg, preset="crowson", iterations=(30, 1)))
        adam = seen[-1].checkpoint()["optimizer"]["adam"]
        assert int(adam["step"]) == 31 and adam["exp_avg"].shape == (3, 40, 44)
        assert (adam["exp_avg_sq"] >= 0).all()


class TestNonFinite:
    def test_recovers(self, pictures):
        losses = []
        picture = stylize(
            *pictures,
            size=None,
            extractor=Spoiled({6, 11, 12}),
            levels=1,
            iterations=40,
            style_weight=1e4,
            callback=lambda progress: losses.append(progress.loss),
        )
        assert torch.isfinite(picture).all()
        assert losses[-1] < 0.2 * losses[0]

    @pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
    def test_gives_up_after_five_and_names_the_terms(self, pictures, optimizer):
        message = "NaN or infinity in content layer random, layer random 5 times in a row"
        with pytest.raises(RuntimeError, match=message):
            stylize(
                *pictures, size=None, extractor=Spoiled(set(range(6, 99))), levels=1, iterations=40, optimizer=optimizer
            )


def test_a_network_with_a_module_called_pool(pictures, tmp_path):
    """A common name in networks of one's own; a checkpoint must still hold plain values."""
    network = small_network()
    network.pool = torch.nn.MaxPool2d(2)
    kept = []
    options = {"size": None, "levels": 1, "iterations": 3, "extractor": network}
    whole = stylize(*pictures, **options)
    with pytest.raises(Stop):
        stylize(*pictures, callback=stop_at(1, kept), **options)
    torch.save(kept[0].checkpoint(), tmp_path / "c.pt")
    assert torch.equal(stylize(*pictures, resume=tmp_path / "c.pt", **options), whole)
