"""The pages of `unitlens open`: how long an answer takes over HTTP, and a film of a tree being painted.

    python -m benchmarks.speed.app RUN                        # seconds per answer
    python -m benchmarks.speed.app RUN --film docs/images/paint.webp --picture docs/images/open_paint.png

RUN is one of a generator, such as `unitlens demo --generator` makes; the film needs a Chromium and playwright.
"""

import argparse
import base64
import io
import shutil
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from unitlens.app.painting import PaintingPage
from unitlens.app.serving import serve
from unitlens.dissection.reopening import Reopening
from unitlens.dissection.result import open_run

SIZE = (1280, 940)
SCENE, CONCEPT = 30, "tree"
PATH = [(0.44 + 0.1 * np.sin(t) * t / 9, 0.5 + 0.1 * np.cos(t) * t / 9) for t in np.linspace(0, 9, 60)]
"""Of the brush in the film, as shares of the scene's height and width: a spiral from the middle of the crown."""


def opened(folder):
    """The painting page of a run of a generator, of bundled networks alone."""
    dissection = open_run(folder)
    reopening = Reopening.of(dissection.info)
    net, data = reopening.open_network(), reopening.open_data()
    source = dissection.info["data"]["source"]
    return PaintingPage.of(Path(folder).name, net, dissection, dissection.layers, data, source=source)


def served(page):
    """Serve a page from a thread, and return its address."""
    there, address = threading.Event(), []
    threading.Thread(
        target=partial(serve, page, there=lambda found: (address.append(found), there.set())), daemon=True
    ).start()
    there.wait()
    return address[0]


def answers(address, count):
    """Print how long strokes take, one after the other, and beside each other."""
    import httpx

    client = httpx.Client(timeout=60)
    run = client.get(f"{address}api/run").json()
    number = [concept["name"] for concept in run["concepts"]].index(CONCEPT)
    concept = run["concepts"][number]
    rows, columns = run["layers"][concept["layer"]]["grid"]
    mask = np.zeros((rows, columns), bool)
    mask[rows // 4 : rows // 2, columns // 4 : columns // 2] = True
    stroke = {
        "concept": number,
        "units": [unit["unit"] for unit in concept["units"]][:20],
        "action": "add",
        "strength": 1.0,
        "everywhere": False,
        "mask": base64.b64encode(np.packbits(mask).tobytes()).decode(),
    }
    for strokes in (1, 20, 100):
        for what in ("draw", "areas"):
            seconds = []
            for call in range(count):
                began = time.perf_counter()
                client.post(
                    f"{address}api/{what}", json={"scene": call % 5, "strokes": [stroke] * strokes}
                ).raise_for_status()
                seconds.append(time.perf_counter() - began)
            median, high = 1000 * np.quantile(seconds, (0.5, 0.95))
            print(f"{strokes:4d} strokes, {what:5s}  median {median:6.1f} ms, 95 % within {high:6.1f} ms")


def film(address, file, picture):
    """Paint a tree in a browser, frame by frame."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, color_scheme="light")
        page.goto(f"{address}#scene={SCENE}&concept={CONCEPT}")
        page.wait_for_selector("#screen[data-drawn]")
        page.wait_for_load_state("networkidle")
        box = page.locator("#cover").bounding_box()
        frames = []

        def shoot(times=1):
            frames.extend([Image.open(io.BytesIO(page.screenshot())).convert("RGB")] * times)

        shoot(6)
        for number, (y, x) in enumerate(PATH):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
            if number == 0:
                page.mouse.down()
            page.wait_for_timeout(60)
            if number % 2 == 0:
                shoot()
        page.mouse.up()
        page.wait_for_load_state("networkidle")
        page.mouse.move(2, 2)
        page.wait_for_timeout(300)
        shoot(12)
        if picture:
            page.set_viewport_size({"width": SIZE[0], "height": 1200})
            page.locator("#units button").first.click()
            page.wait_for_load_state("networkidle")
            page.evaluate("scrollTo(0, 0)")
            page.wait_for_timeout(200)
            page.screenshot(path=picture)
        browser.close()
    small = [frame.resize((SIZE[0] // 2, SIZE[1] // 2), Image.Resampling.LANCZOS) for frame in frames]
    small[0].save(file, save_all=True, append_images=small[1:], duration=90, loop=0, quality=70, method=6)
    print(f"wrote {file}: {len(frames)} frames, {Path(file).stat().st_size / 1e6:.2f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--calls", type=int, default=40)
    parser.add_argument("--film", metavar="FILE")
    parser.add_argument("--picture", metavar="FILE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    address = served(opened(given.run))
    if given.film:
        film(address, given.film, given.picture)
    else:
        answers(address, given.calls)


if __name__ == "__main__":
    main()
