"""Server strategies, and averages that wrap any of them. One algorithm, one module."""
