"""The commands of instance segmentation."""
