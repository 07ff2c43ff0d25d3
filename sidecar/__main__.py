"""`python -m sidecar` is `understudy`."""

from sidecar.cli import main

main()
