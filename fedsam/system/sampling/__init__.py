"""Which clients a round asks, one way a class."""
