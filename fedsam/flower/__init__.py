"""The Flower path: the project's Flower app, and what exchanges strategies with other Flower apps."""
