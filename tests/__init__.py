"""The tests, and what they share: cases, measures, the arrays of tests/parity, the CUDA kernels emulated on the CPU."""
