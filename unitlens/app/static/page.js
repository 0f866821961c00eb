// What the pages share: asking the server, the state in the address, masks on a grid, and what is said aloud.

/** Ask the server; an object that is sent becomes JSON. Throws an Error whose message is the server's sentence. */
export async function ask(path, sent, { signal } = {}) {
  const response = await send(path, sent, signal);
  return response.json();
}

/** Ask for an answer that takes long: `onProgress` is called with the share that is done. Aborted by the signal. */
export async function askLong(path, sent, onProgress, { signal } = {}) {
  const response = await send(path, sent, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let last;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    text += value;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      last = JSON.parse(text.slice(0, end));
      text = text.slice(end + 1);
      if ("progress" in last) onProgress(last.progress);
    }
  }
  if (last === undefined || "progress" in last) throw new Error("The answer broke off.");
  if ("error" in last) throw new Error(last.error);
  return last.result;
}

async function send(path, sent, signal) {
  let request = { signal };
  if (sent instanceof Blob) request = { signal, method: "POST", body: sent };
  else if (sent !== undefined) request = { signal, method: "POST", body: JSON.stringify(sent) };
  let response;
  try {
    response = await fetch(path, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("unitlens does not answer: it was closed, or is busy.");
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({}));
  throw new Error(answer.error ?? `The server answered ${response.status}.`);
}

/** A function that works on the newest of what it is called with, one at a time; what came between is left out. */
export function newestOnly(work) {
  let next;
  let running = null;
  return (...given) => {
    next = given;
    running ??= (async () => {
      try {
        while (next) {
          const now = next;
          next = undefined;
          await work(...now);
        }
      } finally {
        running = null;
      }
    })();
    return running;
  };
}

/** Positions of a grid, each on or off. */
export class Mask {
  constructor(rows, columns) {
    this.rows = rows;
    this.columns = columns;
    this.on = new Uint8Array(rows * columns);
  }

  get count() {
    return this.on.reduce((sum, one) => sum + one, 0);
  }

  has(row, column) {
    return this.on[row * this.columns + column] === 1;
  }

  /** Switch on all positions whose centre is nearer than the radius, and the one that holds the point itself. */
  dab(y, x, radius) {
    for (let row = 0; row < this.rows; row += 1) {
      for (let column = 0; column < this.columns; column += 1) {
        const inside = Math.floor(y) === row && Math.floor(x) === column;
        if (inside || Math.hypot(row + 0.5 - y, column + 0.5 - x) < radius) this.on[row * this.columns + column] = 1;
      }
    }
  }

  /** Dab along a line. */
  line(from, to, radius) {
    const steps = Math.max(1, Math.ceil(Math.hypot(to.y - from.y, to.x - from.x) * 2));
    for (let step = 0; step <= steps; step += 1) {
      const share = step / steps;
      this.dab(from.y + (to.y - from.y) * share, from.x + (to.x - from.x) * share, radius);
    }
  }

  /** Eight positions to a byte, the first one highest, in base64. */
  packed() {
    const bytes = new Uint8Array(Math.ceil(this.on.length / 8));
    this.on.forEach((one, position) => {
      if (one) bytes[position >> 3] |= 128 >> (position & 7);
    });
    return btoa(String.fromCharCode(...bytes));
  }

  static unpacked(rows, columns, text) {
    const mask = new Mask(rows, columns);
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    mask.on.forEach((_, position) => {
      mask.on[position] = (bytes[position >> 3] >> (7 - (position & 7))) & 1;
    });
    return mask;
  }
}

/** The state of the page in the address, behind the #: plain words, and lists as packed JSON. */
export const address = {
  read() {
    const state = {};
    for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
      state[name] = value;
    }
    return state;
  },
  write(state) {
    const words = new URLSearchParams();
    for (const [name, value] of Object.entries(state)) if (value !== undefined && value !== "") words.set(name, value);
    history.replaceState(null, "", `#${words}`);
  },
  pack(value) {
    const bytes = new TextEncoder().encode(JSON.stringify(value));
    let text = "";
    for (const byte of bytes) text += String.fromCharCode(byte);
    return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  },
  unpack(text) {
    try {
      const bytes = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (one) => one.charCodeAt(0));
      return JSON.parse(new TextDecoder().decode(bytes));
    } catch {
      return undefined;
    }
  },
};

/** Say a sentence, on the page and to screen readers. */
export function say(text, { wrong = false } = {}) {
  const status = document.getElementById("status");
  status.textContent = text;
  status.classList.toggle("wrong", wrong);
}

/** Run what a person asked for; an error becomes a sentence on the page. */
export async function trying(work) {
  try {
    return await work();
  } catch (error) {
    if (error.name !== "AbortError") say(error.message, { wrong: true });
    return undefined;
  }
}

/** A new element with attributes, properties (from `.`) and children. */
export function element(name, given = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (key.startsWith(".")) made[key.slice(1)] = value;
    else if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A share as a percentage: 0.1234 as "12.3 %". */
export function percent(share, digits = 1) {
  return `${(100 * share).toFixed(digits)} %`;
}

/** Let the browser save a file. */
export function download(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** The image of an address, decoded. */
export async function decoded(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  return image;
}

/** Copy the address of the page as it is now. */
export async function copyAddress() {
  try {
    await navigator.clipboard.writeText(location.href);
    say("The address was copied: it opens this view again while unitlens runs.");
  } catch {
    say("The browser does not let the page copy: the address is in its address bar.", { wrong: true });
  }
}
