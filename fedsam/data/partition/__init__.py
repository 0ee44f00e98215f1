"""Partitions: pure functions of labels and a key that divide a data set among clients. One partition, one module."""
