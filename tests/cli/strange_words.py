"""Commands in which one word is what nobody meant: how they are put together, and what they may do."""

import os
import sys
from pathlib import Path

import click
import numpy as np

from unitlens.cli.entry import COMMANDS, cli

WORDS = (
    *("", " ", "-", "--", "~", "*", ".", "..", "/", "../..", "../outside/secret.png", "/dev/zero", "/proc/self/mem"),
    *(
        "\x00",
        "a\x00b",
        "\ud800",
        "\udcff",
        "\x1b[31mred\x1b[0m",
        "\x1b]0;title\x07",
        "\r\n",
        "a\nb",
        "\u202eevil",
        "é",
        "²",
    ),
    *(
        "0",
        "1",
        "2",
        "-1",
        "-0",
        "1.5",
        "9" * 19,
        "9" * 400,
        "-" + "9" * 400,
        "1e999",
        "-1e308",
        "1e-400",
        "nan",
        "inf",
    ),
    *("9" * 5000, "9" * 5000 + "/2", "1x" + "9" * 5000, "\x1e1", "1\x1f,2"),
    *("٣", "0x10", "1_000", "+1", "2**31", "2147483648", "9223372036854775807", "9223372036854775808", "1/0", "True"),
    *(
        "%s%n%x",
        "%(x)s",
        "{}",
        "{0.__class__}",
        "{run}",
        "$(touch x)",
        "`touch x`",
        "; touch x",
        "'",
        '"',
        "\\",
        "__import__",
    ),
    *("x" * 10_000, "a/" * 3000, "," * 5000, "1," * 5000, ":" * 300, "(" * 5000, "x=" * 100),
    *("1,2", "1,,2", "1x1", "99999x99999", "0x0", "1,2,3", "nan,nan,nan", "0-9", "2/1", "0/0", "1/999999", "9999999/1"),
    *(
        "red",
        "color/red",
        "re:(a+)+$",
        "re:(.*)*x",
        "re:(",
        "re:()",
        "re:(?P<a>.)",
        "sequence:1",
        "sequence:" + "9" * 30,
    ),
    *(
        "auto",
        "folder",
        "mean",
        "none",
        "DEFAULT",
        "all",
        "linf",
        "latents:",
        "latents:9x9",
        "segmenter:",
        "tags:",
        "colors",
    ),
    *(
        "bundled:",
        "bundled:x",
        "torchvision:",
        "torchvision:x",
        "torchvision.models:",
        "a:b:c",
        "os:system",
        "nowhere.py:x",
    ),
    *(
        "world",
        "run",
        "net.py",
        "loop",
        "pipe.csv",
        "vast.npy",
        "vast.csv",
        "world/images/00.png",
        "world/concepts.csv",
    ),
)
"""What stands in the place of a value; names at the end are of files that are there."""


def base(verb, world, run, net):
    """A command that is right, small and quick."""
    named = ("--network", net, "--workers", 0, "--quiet", "--out", "out", "--overwrite")
    shown = ("--image-size", 32, "--mean", 0, "--std", 1)
    sees = (net, "--layer", "0", *shown, "--quantile", 0.15, "--data", world, "--workers", 0)
    commands = {
        "demo": ("--images", 32, "--out", "out", "--quiet"),
        "dissect": (*sees, "--no-evidence", "--exemplars", 0, "--pairs", 0, "--out", "out", "--quiet"),
        "fit": (
            net,
            "--layer",
            "0",
            *shown,
            "--method",
            "topk:1",
            "--count",
            2,
            "--steps",
            2,
            "--positions",
            50,
            "--data",
            world,
            "--workers",
            0,
            "--quiet",
            "--overwrite",
        ),
        "label": (run, "--from", "labels.csv", "--overwrite", "--quiet"),
        "merge": ("part1", "part2", "--out", "out", "--quiet"),
        "plan": (*sees, "--no-evidence"),
        "check": (world, "--quiet"),
        "ablate": (run, "--units", "0,1", "--draws", 2, *named),
        "intervene": (
            "bundled:scenes-generator",
            "--units",
            "0",
            "--layer",
            "block8",
            "--limit",
            8,
            "--draws",
            1,
            "--workers",
            0,
            "--quiet",
            "--out",
            "out",
        ),
        "explain": (run, f"{world}/images/00.png", *named),
        "compare-images": (run, f"{world}/images/00.png", f"{world}/images/01.png", *named),
        "attack": (run, "--from", "red", "--images", 2, "--steps", 1, *named),
        "shortcuts": (run, "--groups", "kinds.csv", "--most", 1, "--draws", 1, *named),
        "layers": (net, *shown),
        "units": (run,),
        "report": (run,),
        "tables": (run, "--out", "out", "--overwrite"),
        "figures": (run, "--out", "out", "--overwrite", "--format", "svg", "--units", 1),
        "compare": (run, "again", "--name", "a", "--name", "b", "--out", "out", "--overwrite", "--quiet"),
        "audit": (run, "--noise", 0, "--network", net, "--workers", 0, "--quiet", "--out", "out"),
        "open": (run, "--network", net, "--no-browser", "--quiet"),
        "reconstruct": ("turned", "--basis", "turn.npy", "--network", net, "--workers", 0, "--quiet"),
        "rerun": (run, "--network", net, "--workers", 0, "--quiet"),
    }
    return [str(word) for word in (verb, *commands[verb])]


def parameters(verb):
    """What a command takes: click's own parameters."""
    return cli.get_command(None, verb).params


def places(verbs=tuple(verb for verb in COMMANDS if verb != "open")):  # which waits for requests
    """Every place for a word in some commands, as (verb, parameter)."""
    return [
        (verb, one) for verb in verbs for one in parameters(verb) if isinstance(one, click.Argument) or not one.is_flag
    ]


def command(verb, one, word, *given):
    """A right command with a word in the place of a parameter."""
    words = base(verb, *given)
    if isinstance(one, click.Argument):
        of_arguments = [parameter.name for parameter in parameters(verb) if isinstance(parameter, click.Argument)]
        words[1 + of_arguments.index(one.name)] = word
        return words
    return [*words, one.opts[0], word]


def strange(number, *given, verbs=None):
    """The command of a number, the same for the same number."""
    draws, every = np.random.default_rng(number), places() if verbs is None else places(verbs)
    verb, one = every[int(draws.integers(len(every)))]
    return command(verb, one, WORDS[int(draws.integers(len(WORDS)))], *given)


class Writing:
    """Notes files that are written, made, moved or removed outside of some folders."""

    allowed: tuple[str, ...] | None = None
    noted: list[str] = []  # noqa: RUF012  # of the whole process, as hooks cannot be taken back


_OF_PATHS = {
    "os.mkdir": 1,
    "os.rename": 2,
    "os.remove": 1,
    "os.rmdir": 1,
    "os.symlink": 2,
    "os.link": 2,
    "os.truncate": 1,
}


def _hook(event, arguments):
    if Writing.allowed is None:
        return
    if event == "open":
        path, _, flags = arguments
        nameless = flags & os.O_TMPFILE == os.O_TMPFILE  # tells whether a folder may be written to
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and not nameless
        paths = [path] if isinstance(path, str | bytes) and writes else []
    else:
        paths = arguments[: _OF_PATHS.get(event, 0)]
    for path in paths:
        if not isinstance(path, str | bytes | Path):
            continue
        real = os.path.realpath(os.fsdecode(path))
        compiled = "__pycache__" in Path(real).parts  # Python keeps what it imports for the first time
        if not real.startswith((*Writing.allowed, "/dev/")) and not compiled:
            Writing.noted.append(f"{event} {real}")


sys.addaudithook(_hook)


def wrong_with(printed):
    """What is wrong with what a command printed and did; None if nothing is."""
    text = printed.out + printed.err
    if printed.code not in (0, 1, 2):
        return f"exit code {printed.code}"
    if "Traceback" in text:
        return "a traceback"
    steering = [c for c in text if not c.isprintable() and c not in "\n\t"]
    if steering:
        return f"prints {steering[:5]}"
    if printed.code == 2 and not [line for line in printed.err.splitlines() if line.startswith("unitlens: ")]:
        return "no sentence"
    longest = max(map(len, text.splitlines()), default=0)
    if longest > 4000:
        return f"a line of {longest} characters"
    return None
