"""Pretrained VGG weights: where they are, what their files contain, which input they expect.

Nothing is downloaded and no code in a file is run. `find_weights` lists what this machine has, `load_vgg` reads any of
the known kinds of file, `convert_to_safetensors` writes one with its input convention in the metadata.
"""

from cnnfast.weights.architecture import VGG_ARCHITECTURES, vgg_convolution_names, vgg_layer_names
from cnnfast.weights.conventions import PREPROCESSINGS, Preprocessing
from cnnfast.weights.discovery import HOW_TO_GET, WeightsFile, auto_weights, find_weights, require_weights
from cnnfast.weights.files import WeightsError, sha256_of
from cnnfast.weights.vgg import VGGWeights, convert_to_safetensors, load_vgg

__all__ = [
    "HOW_TO_GET",
    "PREPROCESSINGS",
    "VGG_ARCHITECTURES",
    "Preprocessing",
    "VGGWeights",
    "WeightsError",
    "WeightsFile",
    "auto_weights",
    "convert_to_safetensors",
    "find_weights",
    "load_vgg",
    "require_weights",
    "sha256_of",
    "vgg_convolution_names",
    "vgg_layer_names",
]
