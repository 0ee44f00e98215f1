"""Schedules: round -> client learning rate. One schedule, one module."""
