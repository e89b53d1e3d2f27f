"""Texture synthesis interrupted and resumed, and with NaN in the middle."""

import io

import pytest
import torch

from cnnfast.models.style.picture.levels import RunProgress
from cnnfast.models.style.texture.synthesis import synthesize_texture
from tests.models.style.run_cases import Spoiled, Stop, interrupted_in_call, small_network, smooth_noise, stop_at


@pytest.fixture
def sample():
    return smooth_noise(40, 44)


class TestResume:
    @pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
    @pytest.mark.parametrize("count", [1, 4, 5, 8])
    def test_bit_identical_from_any_iteration(self, sample, vgg, tmp_path, optimizer, count):
        options = {"extractor": vgg, "levels": 2, "iterations": (4, 4), "optimizer": optimizer}
        whole = synthesize_texture(sample, **options)
        kept: list[RunProgress] = []
        with pytest.raises(Stop):
            synthesize_texture(sample, callback=stop_at(count, kept), **options)
        path = tmp_path / "run.pt"
        torch.save(kept[0].checkpoint(), path)
        seen = []
        resumed = synthesize_texture(sample, resume=path, callback=lambda p: seen.append(p), **options)
        assert len(seen) == 8 - count
        assert torch.equal(resumed, whole)

    def test_interrupt_in_the_middle_of_an_evaluation(self, sample):
        network = small_network()
        options = {"iterations": 9, "extractor": network}
        whole = synthesize_texture(sample, **options)
        progress = []
        with interrupted_in_call(network, 8), pytest.raises(KeyboardInterrupt):
            synthesize_texture(sample, callback=progress.append, **options)
        checkpoint = progress[-1].checkpoint()
        assert torch.isfinite(progress[-1].image()).all()
        assert torch.equal(synthesize_texture(sample, resume=checkpoint, **options), whole)

    def test_checkpoint_loads_as_plain_weights(self, sample):
        kept: list[RunProgress] = []
        with pytest.raises(KeyboardInterrupt):
            synthesize_texture(
                sample, extractor=small_network(), iterations=3, callback=stop_at(2, kept, KeyboardInterrupt)
            )
        buffer = io.BytesIO()
        torch.save(kept[0].checkpoint(), buffer)
        buffer.seek(0)
        loaded = torch.load(buffer, weights_only=True)
        assert [entry[:2] for entry in loaded["history"]] == [[1, 1], [1, 2]]

    @pytest.mark.parametrize(
        ("change", "name"),
        [
            ({"seed": 3}, "seed"),
            ({"size": (40, 40)}, "plan"),
            ({"tileable": True}, "tileable"),
            ({"extractor": small_network(seed=7)}, "extractor"),
            ({"optimizer": "adam"}, "optimizer"),
        ],
    )
    def test_other_settings_are_refused(self, sample, change, name):
        options = {"extractor": small_network(), "iterations": 3}
        kept: list[RunProgress] = []
        with pytest.raises(Stop):
            synthesize_texture(sample, callback=stop_at(1, kept), **options)
        with pytest.raises(ValueError, match=rf"settings of the checkpoint \(.*{name}="):
            synthesize_texture(sample, resume=kept[0].checkpoint(), **(options | change))

    def test_another_sample_is_refused(self, sample):
        options = {"extractor": small_network(), "iterations": 3}
        kept: list[RunProgress] = []
        with pytest.raises(Stop):
            synthesize_texture(sample, callback=stop_at(1, kept), **options)
        with pytest.raises(ValueError, match="sample="):
            synthesize_texture(1 - sample, resume=kept[0].checkpoint(), **options)

    @pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
    def test_files_that_are_no_checkpoint(self, sample, tmp_path, content):
        path = tmp_path / "bad.pt"
        if content is None:
            torch.save({"weights": torch.zeros(3)}, path)
        else:
            path.write_bytes(content)
        with pytest.raises(ValueError, match=r"load_checkpoint: expected a checkpoint .* got .*bad\.pt"):
            synthesize_texture(sample, extractor=small_network(), resume=path)


class TestNonFinite:
    def test_recovers(self, sample):
        losses = []
        picture = synthesize_texture(
            sample,
            extractor=Spoiled({6, 11, 12}),
            levels=1,
            iterations=40,
            callback=lambda progress: losses.append(progress.loss),
        )
        assert torch.isfinite(picture).all()
        assert losses[-1] < 0.05 * losses[0]

    def test_gives_up_after_five_and_names_the_layer(self, sample):
        with pytest.raises(RuntimeError, match="NaN or infinity in layer random 5 times in a row"):
            synthesize_texture(sample, extractor=Spoiled(set(range(6, 99))), levels=1, iterations=40)
