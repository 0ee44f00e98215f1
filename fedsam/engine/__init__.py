"""Engines: how clients are trained. One engine, one module; all call the same function for one client."""
