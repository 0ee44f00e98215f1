"""Campaigns that try to break runs, and say what was survived: `make torture`, or `python -m fedsam.torture`."""
