"""`fedsam reproduce`: a paper's claims, put to runs of our own."""
