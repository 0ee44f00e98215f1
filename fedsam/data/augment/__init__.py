"""Augmentations: keyed, per sample, on the device. One augmentation, one module."""
