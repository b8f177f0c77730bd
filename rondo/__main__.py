"""``python -m rondo`` is the command ``rondo``."""

from rondo.cli import main

main()
