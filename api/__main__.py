"""`python -m api` is `memory-engine`."""

from api.cli import main

main()
