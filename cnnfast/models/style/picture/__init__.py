"""The optimisation of a picture by losses over features: optimisers, levels, tiles, checkpoints."""
