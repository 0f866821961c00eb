// What lies over the scene: the brush, the stroke that is being made, and the strokes before it.

import { Mask } from "./page.js";
import { run } from "./brush.js";

/** The mask of a stroke. */
export function maskOf(one) {
  const grid = run.layers[run.concepts[one.concept].layer].grid;
  return Mask.unpacked(...grid, one.mask);
}

/** Tint the positions of a mask, and draw their outline: solid for what is added, dashed for what is removed. */
export function fill(pen, mask, action, opacity) {
  const height = pen.canvas.height / mask.rows;
  const width = pen.canvas.width / mask.columns;
  pen.fillStyle = action === "add" ? `rgba(255, 221, 51, ${opacity})` : `rgba(20, 20, 20, ${opacity})`;
  const outline = new Path2D();
  for (let row = 0; row < mask.rows; row += 1) {
    for (let column = 0; column < mask.columns; column += 1) {
      if (!mask.has(row, column)) continue;
      const [x, y] = [column * width, row * height];
      pen.fillRect(x, y, width, height);
      const edge = (there, x1, y1, x2, y2) => {
        if (there) return;
        outline.moveTo(x1, y1);
        outline.lineTo(x2, y2);
      };
      edge(row > 0 && mask.has(row - 1, column), x, y, x + width, y);
      edge(row < mask.rows - 1 && mask.has(row + 1, column), x, y + height, x + width, y + height);
      edge(column > 0 && mask.has(row, column - 1), x, y, x, y + height);
      edge(column < mask.columns - 1 && mask.has(row, column + 1), x + width, y, x + width, y + height);
    }
  }
  const scale = devicePixelRatio || 1;
  for (const [colour, thickness] of [["rgba(0, 0, 0, .65)", 3], [action === "add" ? "#ffdd33" : "#fff", 1.5]]) {
    pen.setLineDash(action === "add" ? [] : [5 * scale, 4 * scale]);
    pen.strokeStyle = colour;
    pen.lineWidth = thickness * scale;
    pen.stroke(outline);
  }
  pen.setLineDash([]);
}
