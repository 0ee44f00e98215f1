"""`fedsam check`: a run is tried before it is started."""
