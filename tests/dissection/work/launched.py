"""Processes that `torchrun` started."""

import os


def second_of(launcher):
    """The process of rank 1, by what it was started with."""
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                words = dict(entry.partition(b"=")[::2] for entry in file.read().split(b"\0"))
            with open(f"/proc/{pid}/stat") as file:
                parent = int(file.read().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        if parent == launcher and words.get(b"RANK") == b"1":
            return int(pid)
    raise AssertionError("there is no second process")
