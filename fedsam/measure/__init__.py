"""Whatever is measured of a run every so many rounds: loss and metrics, curvature, updates, local adaptation."""
