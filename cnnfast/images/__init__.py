"""Pictures in and out: files, arrays and tensors become RGB [3,H,W] float32 in [0,1], and whole files again."""

from cnnfast.images.errors import ImageError
from cnnfast.images.folder import find_pictures
from cnnfast.images.histogram import match_histogram
from cnnfast.images.layout import is_grey, resize, side_by_side, size_for
from cnnfast.images.limits import MAX_PIXELS
from cnnfast.images.reading import load_image
from cnnfast.images.samples import sample_picture
from cnnfast.images.writing import save_image

__all__ = [
    "MAX_PIXELS",
    "ImageError",
    "find_pictures",
    "is_grey",
    "load_image",
    "match_histogram",
    "resize",
    "sample_picture",
    "save_image",
    "side_by_side",
    "size_for",
]
