"""Networks whose features several systems use: VGG, ResNet, random filters, backbones of detectors."""
