"""What tells a reader of a file that its colours are sRGB."""

from __future__ import annotations

import struct
import zlib
from functools import cache

_SIGNATURE_AND_HEADER = 8 + 25
# Of the profile's header: the date at which it was made, and its checksum.
_DATE, _CHECKSUM = slice(24, 36), slice(84, 100)


def with_srgb_chunk(png: bytes) -> bytes:
    """A PNG file with the chunk sRGB (perceptual) behind its header.

    Source: PNG specification, third edition, section 11.3.2.5.
    """
    kind, data = b"sRGB", b"\0"
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return png[:_SIGNATURE_AND_HEADER] + chunk + png[_SIGNATURE_AND_HEADER:]


@cache
def srgb_profile() -> bytes:
    """The ICC profile of sRGB, the same bytes at every time."""
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[_DATE] = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    profile[_CHECKSUM] = bytes(16)
    return bytes(profile)
