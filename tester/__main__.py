"""`python -m tester`."""

from tester.cli import main

main()
