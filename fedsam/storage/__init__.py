"""Files that survive: written aside and renamed, locked, UTF-8, with paths as a person writes them."""
