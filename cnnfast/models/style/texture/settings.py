"""Settings of texture synthesis, checked once."""

from __future__ import annotations

from dataclasses import dataclass

from cnnfast.models.style.picture.settings import OPTIMIZERS, check_one_of, check_positive, check_tile

BOUNDS = ("sample", "unit", None)
WEIGHTS = ("relative", "gatys")


@dataclass(frozen=True)
class TextureSettings:
    """Choices of a run, as :func:`~cnnfast.models.style.texture.synthesis.synthesize_texture` has them."""

    optimizer: str
    noise_std: float
    bounds: str | None
    tileable: bool
    seed: int
    weights: str
    tile: int | str | None

    def __post_init__(self) -> None:
        """Raises ValueError for a value outside its range."""
        function = "synthesize_texture"
        check_one_of(function, "optimizer", self.optimizer, OPTIMIZERS)
        check_one_of(function, "bounds", self.bounds, BOUNDS)
        check_one_of(function, "weights", self.weights, WEIGHTS)
        check_positive(function, "noise_std", self.noise_std, zero=True)
        check_tile(function, self.tile)
