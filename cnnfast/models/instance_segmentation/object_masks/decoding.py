"""From the bins of a box to its mask: unions of discs, soft or hard."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cnnfast.arguments.checks import check_floating, check_word
from cnnfast.layers.distance import InverseDistanceTransform
from cnnfast.ops import bin_radii, disc_union, inverse_distance_transform

ACTIVATIONS = ("softmax", "sigmoid")
"""One distribution over background and bins, or independent maps of the bins."""

DECODES = ("soft", "hard", "max")
"""The trained sum of discs, the union of the discs of the likeliest bins, or the likeliest disc at each cell."""


def bin_probabilities(logits: Tensor, activation: str = "softmax") -> Tensor:
    """Probabilities [n,K,H,W] of the bins, float32 or float64, from logits [n,K+1,H,W], with "sigmoid" [n,K,H,W]."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits.softmax(1)[:, 1:] if activation == "softmax" else logits.sigmoid()


def bin_labels(logits: Tensor, activation: str = "softmax") -> Tensor:
    """Likeliest bins [n,H,W] uint8, 0 for background; with "sigmoid" the background wins where no bin reaches 0.5."""
    if activation == "softmax":
        return logits.argmax(1).to(torch.uint8)
    best = logits.max(1)
    return torch.where(best.values >= 0, best.indices + 1, 0).to(torch.uint8)


def decode_bins(
    logits: Tensor, decoder: InverseDistanceTransform, decode: str = "soft", activation: str = "softmax"
) -> Tensor:
    r"""Masks of windows from the bins of their boxes.

    ======  ==========================================================================================  =========
    decode  mask                                                                                        threshold
    ======  ==========================================================================================  =========
    soft    :math:`\sigma(\beta + \sum_n w_n \sum_{|p-q| \le \rho_n} B_n(p))`, weights of the decoder   0.5
    hard    1 where a disc of the likeliest bins reaches, else 0                                        any
    max     :math:`\max_n \max_{|p-q| \le \rho_n} B_n(p)`                                               0.4
    ======  ==========================================================================================  =========

    "soft" needs a decoder that was trained with a loss of the mask; the others do not use the decoder's weights.

    Args:
        logits: [n,K+1,S,S] with "softmax", the background's first; [n,K,S,S] with "sigmoid".
        decoder: of the same bins, with its radii and halo.
        decode: see the table.
        activation: of the logits.

    Returns:
        [n,1,S+2P,S+2P] in [0,1], float32, or float64 for float64 logits. "soft" and "max" are differentiable.

    Raises:
        ValueError: an unknown word, or logits of another shape.
        TypeError: logits that are no floating tensor.

    Source: Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017, section 3.2 for "soft".

    Example:
        >>> import torch
        >>> from cnnfast.layers.distance import InverseDistanceTransform
        >>> from cnnfast.models.instance_segmentation.object_masks.decoding import decode_bins
        >>> logits = torch.zeros(1, 3, 3, 3)
        >>> logits[:, 0], logits[0, 2, 1, 1] = 5, 9  # bin 2 of 2 at the middle: a disc of radius 1 for R = 3
        >>> decode_bins(logits, InverseDistanceTransform(2, 3), "hard")[0, 0].int()
        tensor([[0, 0, 0, 0, 0],
                [0, 0, 1, 0, 0],
                [0, 1, 1, 1, 0],
                [0, 0, 1, 0, 0],
                [0, 0, 0, 0, 0]], dtype=torch.int32)
    """
    check_word("decode_bins", "decode", decode, DECODES)
    check_logits("decode_bins", logits, decoder.K, activation)
    if decode == "soft":
        return mask_logits_of_bins(logits, decoder, activation).sigmoid()
    radii = bin_radii(decoder.R, decoder.K)
    if decode == "hard":
        union = disc_union(bin_labels(logits, activation), radii, pad=decoder.pad)
        return union[:, None].to(torch.promote_types(logits.dtype, torch.float32))
    bins = bin_probabilities(logits, activation)
    return inverse_distance_transform(bins, radii, pad=decoder.pad, union="max")


def mask_logits_of_bins(logits: Tensor, decoder: InverseDistanceTransform, activation: str = "softmax") -> Tensor:
    """Logits [n,1,S+2P,S+2P] of the soft mask, which is its sigmoid: what the loss of the mask takes."""
    return decoder(bin_probabilities(logits, activation), return_logits=True)


def check_logits(function: str, logits: Tensor, K: int, activation: str) -> None:
    """Raise unless logits are of K bins, and with "softmax" the background."""
    check_word(function, "activation", activation, ACTIVATIONS)
    check_floating(function, logits, "logits")
    channels = K + (activation == "softmax")
    if logits.dim() != 4 or logits.shape[1] != channels:
        raise ValueError(f"{function}: expected logits of shape [n,{channels},S,S], got {list(logits.shape)}")


def choose_decoding(network: nn.Module, decode: str) -> None:
    """Change how a network decodes its object masks.

    Args:
        network: changed in place.
        decode: "soft", "hard" or "max", see :func:`decode_bins`.

    Raises:
        ValueError: another word, or a network without object masks.

    Example:
        >>> from cnnfast.models.instance_segmentation.architectures import ModelSettings, build_model
        >>> from cnnfast.models.instance_segmentation.object_masks.decoding import choose_decoding
        >>> choose_decoding(build_model(ModelSettings("maskrcnn-omn", "small")), "hard")
    """
    check_word("choose_decoding", "decode", decode, DECODES)
    modules = [module for module in network.modules() if isinstance(getattr(module, "decode", None), str)]
    if not modules:
        raise ValueError("choose_decoding: expected object masks to decode, got a network without")
    for module in modules:
        module.decode = decode  # type: ignore[assignment]
