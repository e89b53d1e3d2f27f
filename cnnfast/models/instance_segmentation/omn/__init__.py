"""Object mask networks (Hayder, He, Salzmann, CVPR 2017): in a Mask R-CNN and as class-agnostic proposals."""
