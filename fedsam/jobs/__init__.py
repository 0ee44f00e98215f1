"""The jobs as functions, one file each: what the commands do, with the same names, keys and results."""
