"""The Ray cluster of this process: how it is started or joined, guarded, watched, and cleared away."""
