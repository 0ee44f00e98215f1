"""The report on finished runs: one HTML file that needs no network, and the same figures for a paper."""
