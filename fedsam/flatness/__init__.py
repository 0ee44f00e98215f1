"""The geometry of the loss around a model: curvature, sharpness and surfaces.

A `Landscape` is the loss on a fixed set of examples as a function of the flat parameter vector; everything else here
is measured on one.
"""
