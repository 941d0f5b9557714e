"""`python -m pcache`: the command line."""

from pcache.cli import main

main()
