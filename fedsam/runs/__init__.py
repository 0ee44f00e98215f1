"""What a run leaves behind, and who is told: the run directory, its records, checkpoints and progress."""
