"""`python -m recprune`."""

from recprune.cli.main import main

main()
