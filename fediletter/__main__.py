"""`python -m fediletter`: the console script."""

from fediletter.cli import main

main()
