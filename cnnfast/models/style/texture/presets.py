"""Presets of texture synthesis: how many iterations a level gets."""

TEXTURE_PRESETS = {"fast": (60, 120), "good": (100, 200)}
"""Name -> iterations of (every coarser level, the finest level)."""
