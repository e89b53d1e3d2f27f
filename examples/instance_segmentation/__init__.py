"""What object masks that may leave their box are good for, in boxes that miss parts of their object.

Source: Hayder, He, Salzmann, "Boundary-aware Instance Segmentation", CVPR 2017, section 4, whose experiments these are
small versions of.
"""
