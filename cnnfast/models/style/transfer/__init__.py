"""Style transfer by optimising the picture (Gatys, Ecker, Bethge, CVPR 2016)."""
