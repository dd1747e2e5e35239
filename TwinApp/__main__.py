"""`python -m TwinApp` is the `digitaltwin` command."""

from .cli import main

main()
