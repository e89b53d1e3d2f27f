"""Benchmarks: one run measures ours, the alternatives and the machine's limits; see README.md here."""
