// The image, with the mask of the units that are looked at, and the places where units are held, which are painted.

import { Mask, say, trying } from "./page.js";
import { inside, overlay } from "./masks.js";
import { act, at, now, remember, thresholds, view } from "./view.js";

let cursor = null;
let stroke = null;

export function paintPicture() {
  const canvas = at("picture");
  canvas.width = now.picture.naturalWidth;
  canvas.height = now.picture.naturalHeight;
  canvas.getContext("2d").drawImage(now.picture, 0, 0);
  paintCover();
}

export async function look(units) {
  now.looked = units;
  if (units && now.maps) await trying(() => now.maps.of(units));
  if (now.looked === units) paintCover();
}

export function paintCover() {
  const canvas = at("cover");
  const scale = devicePixelRatio || 1;
  const box = canvas.getBoundingClientRect();
  const [width, height] = [Math.round(box.width * scale), Math.round(box.height * scale)];
  if (!width || !height) return;
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, width, height);
  if (now.looked && now.maps && now.looked.every((unit) => now.maps.known.has(unit))) {
    const mask = inside(now.looked.map((unit) => now.maps.known.get(unit)), thresholds(now.looked), width, height);
    pen.putImageData(overlay(mask, width, height, Math.max(1, Math.round(width / 200))), 0, 0);
  } else if (view.mask) {
    paintPlaces(pen, stroke?.mask ?? view.mask);
  }
  if (cursor && view.mask) paintCursor(pen);
}

/** Hatch the places where units are held. */
function paintPlaces(pen, mask) {
  const [width, height] = [pen.canvas.width / mask.columns, pen.canvas.height / mask.rows];
  const places = new Path2D();
  for (let row = 0; row < mask.rows; row += 1) {
    for (let column = 0; column < mask.columns; column += 1) {
      if (mask.has(row, column)) places.rect(column * width, row * height, width, height);
    }
  }
  pen.save();
  pen.clip(places);
  pen.fillStyle = "rgba(255, 221, 51, .22)";
  pen.fillRect(0, 0, pen.canvas.width, pen.canvas.height);
  pen.lineWidth = Math.max(1, pen.canvas.width / 260);
  const step = pen.canvas.width / 32;
  for (const [colour, shift] of [["rgba(0, 0, 0, .55)", pen.lineWidth], ["rgba(255, 221, 51, .95)", 0]]) {
    pen.strokeStyle = colour;
    pen.beginPath();
    for (let x = -pen.canvas.height; x < pen.canvas.width; x += step) {
      pen.moveTo(x + shift, pen.canvas.height);
      pen.lineTo(x + shift + pen.canvas.height, 0);
    }
    pen.stroke();
  }
  pen.restore();
}

function paintCursor(pen) {
  const mask = new Mask(view.mask.rows, view.mask.columns);
  mask.dab(cursor.y, cursor.x, radius());
  const [width, height] = [pen.canvas.width / mask.columns, pen.canvas.height / mask.rows];
  for (const [colour, thick] of [["#000", 3], ["#fff", 1.5]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = (thick * pen.canvas.width) / 500;
    for (let row = 0; row < mask.rows; row += 1) {
      for (let column = 0; column < mask.columns; column += 1) {
        if (mask.has(row, column)) pen.strokeRect(column * width, row * height, width, height);
      }
    }
  }
}

const radius = () => Number(at("size").value);

function place(event) {
  const box = at("cover").getBoundingClientRect();
  const within = (value, most) => Math.min(Math.max(value, 0), most - 1e-6);
  return {
    y: within(((event.clientY - box.top) / box.height) * view.mask.rows, view.mask.rows),
    x: within(((event.clientX - box.left) / box.width) * view.mask.columns, view.mask.columns),
  };
}

function begin(point) {
  const wipes = view.mask.has(Math.floor(point.y), Math.floor(point.x));
  stroke = { mask: copied(view.mask), drawn: new Mask(view.mask.rows, view.mask.columns), wipes, last: point };
  extend(point);
}

function extend(point) {
  stroke.drawn.line(stroke.last, point, radius());
  stroke.last = point;
  stroke.drawn.on.forEach((on, k) => {
    if (on) stroke.mask.on[k] = stroke.wipes ? 0 : 1;
  });
  paintCover();
}

function end() {
  if (!stroke) return;
  const { mask } = stroke;
  stroke = null;
  remember();
  view.mask = mask;
  act.changed();
}

function copied(mask) {
  const copy = new Mask(mask.rows, mask.columns);
  copy.on.set(mask.on);
  return copy;
}

function onKey(event) {
  if (!view.mask) return;
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const { rows, columns } = view.mask;
  if (moves[event.key]) {
    cursor ??= { y: rows / 2, x: columns / 2 };
    const step = (value, by, most) => Math.min(Math.max(Math.floor(value) + 0.5 + by, 0.5), most - 0.5);
    cursor = { y: step(cursor.y, moves[event.key][0], rows), x: step(cursor.x, moves[event.key][1], columns) };
    say(`Row ${Math.ceil(cursor.y)} of ${rows}, column ${Math.ceil(cursor.x)} of ${columns}.`);
    paintCover();
  } else if (event.key === " " || event.key === "Enter") {
    cursor ??= { y: rows / 2, x: columns / 2 };
    begin(cursor);
    end();
  } else {
    return;
  }
  event.preventDefault();
}

/** Whether units are held everywhere, or where it is painted. */
export function showPlaces() {
  const painted = view.mask !== null;
  document.querySelector(`input[name=where][value=${painted ? "painted" : "all"}]`).checked = true;
  at("brush").hidden = !painted;
  at("cover").classList.toggle("paints", painted);
  setPaintable(painted);
}

function setPaintable(painted) {
  const cover = at("cover");
  for (const [name, value] of [["tabindex", "0"], ["role", "application"], ["aria-label", "Where units are held: arrow keys move, space paints or wipes"], ["aria-describedby", "keys"]]) {
    if (painted) cover.setAttribute(name, value);
    else cover.removeAttribute(name);
  }
}

function repaint(value) {
  if (!view.mask) return;
  remember();
  view.mask = copied(view.mask);
  view.mask.on = view.mask.on.map(value);
  act.changed();
}

export function listenToPicture() {
  for (const radio of document.querySelectorAll("input[name=where]")) {
    radio.addEventListener("change", () => {
      remember();
      view.mask = radio.value === "painted" ? new Mask(...now.answer.grid) : null;
      act.changed();
    });
  }
  at("size").addEventListener("input", () => {
    at("size-is").textContent = at("size").value;
    paintCover();
  });
  at("unpaint").addEventListener("click", () => repaint(() => 0));
  at("invert").addEventListener("click", () => repaint((on) => 1 - on));
  listenToCover();
  addEventListener("resize", paintCover);
}

function listenToCover() {
  const cover = at("cover");
  cover.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !view.mask) return;
    cover.setPointerCapture(event.pointerId);
    cursor = place(event);
    begin(cursor);
  });
  cover.addEventListener("pointermove", (event) => {
    if (!view.mask) return;
    cursor = place(event);
    if (stroke) extend(cursor);
    else paintCover();
  });
  for (const name of ["pointerup", "pointercancel"]) {
    cover.addEventListener(name, (event) => {
      if (event.pointerType !== "mouse") cursor = null;
      end();
    });
  }
  cover.addEventListener("pointerleave", () => {
    if (stroke) return;
    cursor = null;
    paintCover();
  });
  cover.addEventListener("keydown", onKey);
}
