"""Multi-task network cascades (Dai, He, Sun, CVPR 2016) with binary or object masks."""
