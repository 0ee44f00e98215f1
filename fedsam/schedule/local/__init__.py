"""Learning rates within a client's round. One schedule, one module."""
