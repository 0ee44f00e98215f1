"""Ways to choose what is tried next; a file each."""
