"""Many runs: grids, sweeps, comparisons and studies, and settings that are trained in one batch."""
