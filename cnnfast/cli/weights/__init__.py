"""The commands of pretrained weights."""
