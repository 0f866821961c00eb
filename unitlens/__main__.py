"""`python -m unitlens` is `unitlens`."""

from unitlens.cli import main

main()
