"""What is generated from the modules: tables of methods and lists of keys."""
