// Maps of units, and their masks drawn on an image as in the report: dimmed outside, a yellow line around.

import { ask } from "./page.js";

const AT_ONCE = 64;
const OUTLINE = [255, 221, 51, 255];
const DIM = [32, 32, 32, 128]; // half as bright, and not quite black

/** The maps of one image, asked for as they are needed. */
export class Maps {
  constructor(layer, image) {
    this.layer = layer;
    this.image = image;
    this.known = new Map();
  }

  /** The maps of some units, (rows, columns, values) each. */
  async of(units) {
    const missing = [...new Set(units)].filter((unit) => !this.known.has(unit));
    for (let first = 0; first < missing.length; first += AT_ONCE) {
      const some = missing.slice(first, first + AT_ONCE);
      const answer = await ask("api/maps", { layer: this.layer, image: this.image, units: some });
      const [count, rows, columns] = answer.shape;
      const bytes = Uint8Array.from(atob(answer.maps), (letter) => letter.charCodeAt(0));
      const values = new Float32Array(bytes.buffer);
      for (let k = 0; k < count; k += 1) {
        const size = rows * columns;
        this.known.set(some[k], { rows, columns, values: values.subarray(k * size, (k + 1) * size) });
      }
    }
    return units.map((unit) => this.known.get(unit));
  }
}

/** Where the pixels of a side lie between the positions of a map: half-pixel centres, edges repeated. */
function places(pixels, positions) {
  const low = new Int32Array(pixels);
  const weight = new Float32Array(pixels);
  for (let k = 0; k < pixels; k += 1) {
    const centre = Math.min(Math.max(((k + 0.5) * positions) / pixels - 0.5, 0), positions - 1);
    low[k] = Math.min(Math.floor(centre), Math.max(positions - 2, 0));
    weight[k] = centre - low[k];
  }
  return { low, weight };
}

/** Which pixels lie where any of the maps is above its threshold. */
export function inside(maps, thresholds, width, height) {
  const mask = new Uint8Array(width * height);
  maps.forEach(({ rows, columns, values }, k) => {
    const threshold = thresholds[k];
    if (threshold === null) return;
    const [down, across] = [places(height, rows), places(width, columns)];
    const line = new Float32Array(columns);
    for (let y = 0; y < height; y += 1) {
      const [above, part] = [down.low[y] * columns, down.weight[y]];
      const below = above + (rows > 1 ? columns : 0);
      let most = -Infinity;
      for (let x = 0; x < columns; x += 1) {
        line[x] = values[above + x] + part * (values[below + x] - values[above + x]);
        if (line[x] > most) most = line[x];
      }
      if (!(most > threshold)) continue;
      for (let x = 0; x < width; x += 1) {
        const left = across.low[x];
        const right = columns > 1 ? left + 1 : left;
        if (line[left] + across.weight[x] * (line[right] - line[left]) > threshold) mask[y * width + x] = 1;
      }
    }
  });
  return mask;
}

/** A mask as a layer over the image. */
export function overlay(mask, width, height, thickness) {
  const image = new ImageData(width, height);
  const near = dilated(mask, width, height, thickness);
  for (let k = 0; k < mask.length; k += 1) {
    if (!mask[k]) image.data.set(near[k] ? OUTLINE : DIM, 4 * k);
  }
  return image;
}

function dilated(mask, width, height, by) {
  const across = new Uint8Array(mask.length);
  const near = new Uint8Array(mask.length);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0, until = -1; x < width; x += 1) {
      if (mask[y * width + x]) until = x + by;
      if (until >= x) across[y * width + x] = 1;
    }
    for (let x = width - 1, until = width; x >= 0; x -= 1) {
      if (mask[y * width + x]) until = x - by;
      if (until <= x) across[y * width + x] = 1;
    }
  }
  for (let x = 0; x < width; x += 1) {
    for (let y = 0, until = -1; y < height; y += 1) {
      if (across[y * width + x]) until = y + by;
      if (until >= y) near[y * width + x] = 1;
    }
    for (let y = height - 1, until = height; y >= 0; y -= 1) {
      if (across[y * width + x]) until = y - by;
      if (until <= y) near[y * width + x] = 1;
    }
  }
  return near;
}

/** Draw an image with the masks of some units on it. */
export function drawTile(canvas, picture, maps, thresholds, thickness) {
  const { width, height } = canvas;
  const pen = canvas.getContext("2d");
  pen.drawImage(picture, 0, 0, width, height);
  const layer = new OffscreenCanvas(width, height);
  layer.getContext("2d").putImageData(overlay(inside(maps, thresholds, width, height), width, height, thickness), 0, 0);
  pen.drawImage(layer, 0, 0);
}
