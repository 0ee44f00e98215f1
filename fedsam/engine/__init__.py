"""Engines: how the clients of a round are trained. One engine, one module; all call the same function for one client."""
