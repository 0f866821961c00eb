"""How long it takes to name the colour of every pixel of an image.

python -m benchmarks.speed.colors --side 500
"""

import argparse
import time

import numpy as np

from unitlens.data.colors import color_labels


def main() -> None:
    """Print the time of one image, the least of several."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=500, help="Side of the image in pixels.")
    parser.add_argument("--runs", type=int, default=5, help="How often it is done.")
    options = parser.parse_args()
    image = np.random.default_rng(0).integers(0, 256, (options.side, options.side, 3), dtype=np.uint8)
    color_labels(image)  # makes its table of colours
    seconds = []
    for _ in range(options.runs):
        start = time.perf_counter()
        color_labels(image)
        seconds.append(time.perf_counter() - start)
    print(f"{options.side} x {options.side} pixels: {1000 * min(seconds):.1f} ms")


if __name__ == "__main__":
    main()
