"""The command line: one file a verb."""

from unitlens.cli.entry import main

__all__ = ["main"]
