"""Image classification: torchvision's and timm's backbones, accuracy."""
