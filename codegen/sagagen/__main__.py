"""`python -m sagagen`."""

from sagagen.cli import main

main(prog_name="sagagen")
