"""`python -m fedsam` is the command `fedsam`."""

from fedsam.cli import main

main()
