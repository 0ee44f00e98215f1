"""The core: one federated round, told in order, and what a run is built from."""
