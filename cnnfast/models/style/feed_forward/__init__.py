"""Networks that transfer one style in a single pass (Johnson, Alahi, Fei-Fei, ECCV 2016)."""
