"""Data sets, their partition among clients, the batching plan and augmentation. One data set, one module."""
