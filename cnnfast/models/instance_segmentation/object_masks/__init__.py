"""Object masks that may leave their box: heads, targets, losses, windows and decoding, for every detector."""
