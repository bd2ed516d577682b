"""`python -m cloison`: the command line. The monitor of a container that reboots itself starts it this way."""

from cloison.cli.main import main

main()
