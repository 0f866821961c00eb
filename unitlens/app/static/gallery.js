// The images of the run, by class or wrong ones alone; and images that are sent.

import { ask, askLong, element, say, trying } from "./page.js";
import { act, at, names, now, remember, view } from "./view.js";

const LISTED = 24;

const listing = { start: 0, of: null };

export async function list({ more = false } = {}) {
  listing.of?.abort();
  const stopping = new AbortController();
  listing.of = stopping;
  if (!more) {
    listing.start = 0;
    at("images").replaceChildren();
  }
  at("more").hidden = true;
  const bar = shownLater(at("listing"));
  await trying(async () => {
    const asked = { start: listing.start, count: LISTED, class_: at("class").value || null, wrong: at("wrong").checked };
    const found = await askLong("api/images", { layer: view.layer, ...asked }, bar.show, { signal: stopping.signal });
    listing.start = found.go_on_at;
    at("images").append(...found.images.map(thumbnail));
    at("more").hidden = found.go_on_at >= now.run.images;
    if (!at("images").children.length) at("images").append(element("li", { class: "none" }, "no such image"));
    markImage();
  });
  bar.hide();
}

function thumbnail({ number, name, class_ }) {
  const image = element("img", { src: `api/image?image=${number}&size=small`, alt: "", loading: "lazy", width: 72, height: 72 });
  const button = element("button", { type: "button", "data-image": String(number), title: name }, image, element("span", {}, class_ ?? name));
  button.addEventListener("click", () => choose(String(number)));
  return element("li", {}, button);
}

export function markImage() {
  for (const button of at("images").querySelectorAll("button")) {
    button.setAttribute("aria-current", String(button.dataset.image === view.image));
  }
}

/** A bar that comes only where the work takes longer than a moment. */
export function shownLater(bar) {
  const timer = setTimeout(() => { bar.hidden = false; }, 200);
  bar.removeAttribute("value");
  return {
    show: (value) => { bar.value = value; },
    hide: () => {
      clearTimeout(timer);
      bar.hidden = true;
    },
  };
}

async function nextWrong() {
  const from = /^\d+$/.test(view.image) ? Number(view.image) + 1 : 0;
  const bar = shownLater(at("listing"));
  at("next-wrong").disabled = true;
  await trying(async () => {
    for (const start of [from, 0]) {
      const asked = { layer: view.layer, start, count: 1, class_: at("class").value || null, wrong: true };
      const found = await askLong("api/images", asked, bar.show);
      if (found.images.length) return choose(String(found.images[0].number));
    }
    return say("No image with a known class is classified wrongly.");
  });
  at("next-wrong").disabled = false;
  bar.hide();
}

async function send(file) {
  if (!file) return;
  await trying(async () => {
    say(`Reading ${file.name || "the image"}…`);
    const sent = await ask(`api/upload?name=${encodeURIComponent(file.name || "pasted image")}`, file);
    names.set(sent.image, sent.name);
    await choose(sent.image);
  });
}

function choose(image) {
  remember();
  Object.assign(view, { image, class_: null });
  view.switched.clear();
  view.mask = null;
  return act.show();
}

export function listenToGallery() {
  at("own").addEventListener("click", () => at("file").click());
  at("file").addEventListener("change", async () => {
    await send(at("file").files[0]);
    at("file").value = "";
  });
  at("class").addEventListener("change", () => list());
  at("wrong").addEventListener("change", () => list());
  at("more").addEventListener("click", () => list({ more: true }));
  at("next-wrong").addEventListener("click", nextWrong);
  listenToDrops();
}

function listenToDrops() {
  let inside_ = 0;
  const files = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragenter", (event) => {
    if (files(event)) at("drop").hidden = ++inside_ < 1;
  });
  addEventListener("dragleave", (event) => {
    if (files(event)) at("drop").hidden = --inside_ < 1;
  });
  addEventListener("dragover", (event) => { if (files(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    inside_ = 0;
    at("drop").hidden = true;
    send(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
    if (file) send(file);
  });
}
