"""The contracts of `strategies/`: what a server does, what an algorithm adds to a client, what averages weights."""
