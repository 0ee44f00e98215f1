"""ASAM clients and SWA on the server, as a Flower app."""
