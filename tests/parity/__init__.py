"""Right answers: arrays of original code and of brute force, a folder a family."""

from pathlib import Path

PARITY = Path(__file__).parent
