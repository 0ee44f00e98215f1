"""Studies: sweeps that answer one question, with a table and a figure of their own."""
