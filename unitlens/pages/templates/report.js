"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const list = find("cards");
  const known = window.unitlens.units; // places of units stand for them everywhere
  const all = [...Array(known.count).keys()];
  const inputs = ["search", "words", "sort", "layer", "category", "concept", "verdict"]
    .map((id) => [id, find(id)]).filter(([, input]) => input);
  const input = Object.fromEntries(inputs);
  const AT_ONCE = 2000; // of more units, all are shown as one comes to them
  let portion = 60; // units shown at once; all of them once that is asked for
  let scrolling = false; // whether further ones are shown as one comes to them
  let limit = portion;
  let fitting = all;
  let opened = null; // the unit that is looked at closely

  // ---- which units, in which order

  const falling = (name) => (a, b) => last(known[name][b], known[name][a]);
  const rising = (name) => (a, b) => -last(known[name][b], known[name][a], -1);
  // units without the number come last, whatever the direction
  function last(b, a, sign = 1) {
    if (a === null || b === null) return sign * ((a === null) - (b === null));
    return b - a;
  }
  const layers = input.layer ? [...input.layer.options].map((option) => option.value) : [];
  const place = (unit) => layers.indexOf(known.layerOf(unit)); // layers in the order of the run
  const ratio = (unit) => (known.iou[unit] === null || !known.chance[unit] ? null : known.iou[unit] / known.chance[unit]);
  const orders = {
    best: (a, b) => known.detector[b] - known.detector[a] || orders.iou(a, b),
    iou: falling("iou"),
    low: falling("low"),
    heldout: falling("heldout"),
    ratio: (a, b) => last(ratio(b), ratio(a)),
    q: rising("q"),
    worst: rising("iou"),
    unit: (a, b) => place(a) - place(b) || known.unit[a] - known.unit[b],
    concept: (a, b) => known.nameRank(a) - known.nameRank(b) || orders.iou(a, b),
  };

  // a number alone is a unit's number; anything else is looked for in its verdict and all names on the card: of concepts,
  // labels, classes and images
  const says = (unit, word) => (/^#?\d{1,5}$/.test(word) ? known.unit[unit] === Number(word.replace("#", "")) : known.text(unit).includes(word));
  const said = { layer: known.layerOf, category: known.categoryOf, concept: known.conceptOf, verdict: known.verdictOf };

  function fits(unit, words) {
    return Object.entries(said).every(([name, of]) => !input[name]?.value || of(unit) === input[name].value)
      && words.every((word) => says(unit, word));
  }

  // ---- units by words: the page holds a list of words and the units that go most with each, and no encoder

  const listed = find("word-data") ? JSON.parse(find("word-data").textContent) : null;
  const order = listed && new Map(listed.words.map((word, place) => [word, place]));

  // letters that have to change, between two words
  function distance(a, b) {
    let row = [...Array(b.length + 1).keys()];
    for (let i = 1; i <= a.length; i += 1) {
      const next = [i];
      for (let j = 1; j <= b.length; j += 1) {
        next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] !== b[j - 1])));
      }
      row = next;
    }
    return row[b.length];
  }

  // a listed word, or one that has it as a part, or else the one that is spelled most like it
  function nearest(token) {
    if (order.has(token)) return token;
    const part = listed.words.find((word) => word.split(" ").includes(token)) ?? listed.words.find((word) => word.startsWith(token));
    if (part) return part;
    const [far, word] = listed.words.map((one) => [distance(token, one), one]).sort((a, b) => a[0] - b[0])[0];
    return far <= Math.max(1, token.length / 3) ? word : null;
  }

  function meant(text) {
    const whole = text.toLowerCase().trim();
    const tokens = order.has(whole) ? [whole] : whole.split(/[\s,]+/).filter(Boolean);
    const words = [...new Set(tokens.map(nearest).filter(Boolean))];
    const scores = new Map();
    for (const word of words) {
      const found = listed.found[order.get(word)];
      for (let k = 0; k < found.length; k += 2) {
        const unit = known.placeOf(listed.cards[found[k]]);
        scores.set(unit, (scores.get(unit) ?? 0) + found[k + 1]);
      }
    }
    return { words, scores };
  }

  function tellMeant(near) {
    if (!listed) return;
    find("meant").hidden = !near;
    if (!near) return;
    find("meant").textContent = near.words.length
      ? `The units that go most with ${near.words.map((word) => `“${word}”`).join(" and ")}, as ${listed.encoder} sees the images. The page knows the ${listed.words.length} words of the list; run.search(…) and the page of unitlens open take any words.`
      : `None of the ${listed.words.length} words of the list is like it; run.search(…) and the page of unitlens open take any words.`;
  }

  function tellMore() {
    find("more").parentElement.hidden = fitting.length <= limit;
    find("more").textContent = `Show ${Math.min(portion, fitting.length - limit)} more of ${fitting.length - limit}`;
    find("all").hidden = scrolling;
  }

  function extend() {
    limit += portion;
    list.append(...fitting.slice(list.childElementCount, limit).map(known.card));
    tellMore();
  }

  function showAll() {
    scrolling = all.length > AT_ONCE;
    portion = scrolling ? 240 : Infinity;
    extend();
  }

  function show() {
    const near = listed && input.words.value.trim() ? meant(input.words.value) : null;
    tellMeant(near);
    const words = input.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    fitting = all.filter((unit) => fits(unit, words) && (!near || near.scores.has(unit)))
      .sort(near ? (a, b) => near.scores.get(b) - near.scores.get(a) : orders[input.sort.value]);
    list.replaceChildren(...fitting.slice(0, limit).map(known.card));
    const filtered = near || words.length || ["layer", "category", "concept", "verdict"].some((name) => input[name]?.value);
    find("shown").textContent = filtered ? `${fitting.length} of ${all.length} units` : `${all.length} units`;
    find("clear").hidden = !filtered;
    find("nothing").hidden = fitting.length > 0 || !all.length;
    tellMore();
    for (const link of document.querySelectorAll(".chart a")) {
      const { concept, category } = link.dataset;
      const chosen = concept ? input.concept.value === concept : input.category.value === category && !input.concept.value;
      if (chosen) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    address();
  }

  // ---- the choices and the opened unit stand in the address, so that they can be kept and sent on

  let started = false;
  function address() {
    if (!started) return;
    const choices = new URLSearchParams(inputs.filter(([name, one]) => one.value && !(name === "sort" && one.selectedIndex === 0))
      .map(([name, one]) => [name, one.value]));
    if (opened !== null) choices.set("open", known.idOf(opened));
    const text = choices.toString();
    const here = location.href.split("#")[0];
    if (text) history.replaceState(null, "", `${here}#units?${text}`);
    else if (location.hash.startsWith("#units?")) history.replaceState(null, "", `${here}#units`);
  }

  function choose(text) {
    const choices = new URLSearchParams(text);
    for (const [name, one] of inputs) {
      one.value = choices.get(name) ?? "";
      if (one.value === "" && name === "sort") one.selectedIndex = 0;
    }
    if (input.layer) recount();
    anew();
    const unit = known.placeOf(choices.get("open"));
    if (unit !== undefined) closer(unit);
    else find("units").scrollIntoView();
  }

  // another choice begins at its first portion
  function anew() {
    limit = portion;
    show();
  }

  function clear() {
    for (const [name, one] of inputs) if (name !== "sort") one.value = "";
    if (input.layer) recount();
    anew();
  }

  // ---- the chart counts the units of the chosen layer, and chooses a concept

  const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
  function recount() {
    const counts = new Map();
    for (const unit of all) {
      if (input.layer.value && known.layerOf(unit) !== input.layer.value) continue;
      const concept = known.conceptOf(unit);
      const count = counts.get(concept) ?? { d: 0, o: 0 };
      if (known.detector[unit]) count.d += 1;
      else if (known.above[unit]) count.o += 1;
      counts.set(concept, count);
    }
    for (const bar of document.querySelectorAll(".chart .bar")) {
      const { d, o } = counts.get(bar.dataset.concept) ?? { d: 0, o: 0 };
      bar.style.setProperty("--d", d);
      bar.style.setProperty("--o", o);
      bar.querySelector(".count").textContent = d || "";
      bar.title = `${bar.lastElementChild.textContent}: ${plural(d, "detector")}${o ? `, ${plural(o, "other")}` : ""}`;
    }
    for (const group of document.querySelectorAll(".chart .group")) {
      const each = [...group.querySelectorAll(".bar")].map((bar) => counts.get(bar.dataset.concept)?.d ?? 0);
      const sum = each.reduce((a, b) => a + b, 0);
      group.querySelector("small").textContent = `${plural(each.filter(Boolean).length, "concept")}, ${plural(sum, "detector")}`;
    }
  }

  document.querySelector(".chart")?.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link) return;
    event.preventDefault();
    const { concept = "", category = "" } = link.dataset;
    const again = link.hasAttribute("aria-current");
    input.category.value = again ? "" : category;
    input.concept.value = again ? "" : concept;
    anew();
    if (!again) find("units").scrollIntoView();
  });

  // ---- a link to a unit or a concept finds it, whatever is filtered away

  function follow() {
    const id = location.hash.slice(1);
    if (id.startsWith("units?")) return choose(id.slice("units?".length));
    const unit = known.placeOf(id);
    for (const one of list.querySelectorAll(".found")) one.classList.remove("found");
    if (unit !== undefined) {
      const card = known.card(unit);
      if (!fitting.includes(unit)) clear();
      if (!card.isConnected) {
        limit = Math.ceil((fitting.indexOf(unit) + 1) / portion) * portion;
        show();
      }
      card.classList.add("found");
      card.scrollIntoView({ block: "center", behavior: "instant" });
      card.focus({ preventScroll: true });
    }
    const concept = find(id);
    if (concept?.matches("details.concept")) {
      concept.open = true;
      concept.scrollIntoView();
    }
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (link && link.getAttribute("href") === location.hash && !event.defaultPrevented) follow();
  });

  // ---- images: every strip is in the file once; a tile of it is shown elsewhere by where it lies

  function tile(img, card, rank) {
    const strip = card.querySelector(".strip img");
    if (!strip) return;
    const count = Number(strip.parentElement.style.getPropertyValue("--k"));
    img.src = strip.src;
    img.style.objectPosition = `${count > 1 ? (100 * rank) / (count - 1) : 0}% 0`;
    img.hidden = false;
  }

  document.addEventListener("toggle", (event) => {
    if (!event.target.open) return;
    for (const img of event.target.querySelectorAll("img[data-from]:not([src])")) {
      const unit = known.placeOf(img.dataset.from);
      if (unit !== undefined) tile(img, known.card(unit), Number(img.dataset.rank));
    }
  }, true);

  function units() {
    const rows = fitting.map(known.row);
    const columns = [...new Set(rows.flatMap((one) => [...one.keys()]))];
    return [columns, ...rows.map((one) => columns.map((column) => one.get(column) ?? ""))];
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // where a browser lets no script of a file write, the reader copies what is selected
      const area = document.createElement("textarea");
      area.value = text;
      find("closer").append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  }

  function step(by) {
    const unit = fitting[fitting.indexOf(opened) + by];
    if (unit !== undefined) closer(unit);
  }

  function closer(unit) {
    opened = unit;
    const card = known.card(unit);
    const at = fitting.indexOf(unit);
    find("closer-place").textContent = `${at + 1} of ${fitting.length}`;
    find("previous").disabled = at <= 0;
    find("next").disabled = at < 0 || at === fitting.length - 1;
    find("copied").textContent = "";
    const title = document.createElement("h2");
    title.id = "closer-title";
    const where = document.createElement("small");
    where.textContent = `${known.layerOf(unit)} unit ${known.unit[unit]}`;
    title.append(known.nameOf(unit) || "no concept", " ", where);
    const shelf = document.createElement("div");
    shelf.className = "shelf";
    const strip = card.querySelector(".strip img");
    if (strip) {
      const sharp = () => shelf.style.setProperty("--tile", `${strip.naturalHeight}px`); // no tile is blurred
      if (strip.complete) sharp();
      else strip.addEventListener("load", sharp, { once: true });
    }
    [...card.querySelectorAll(".names li")].forEach((line, rank) => {
      const figure = document.createElement("figure");
      const img = document.createElement("img");
      img.alt = "";
      img.hidden = true; // until there is an image of it
      tile(img, card, rank);
      const caption = document.createElement("figcaption");
      caption.append(...[...line.childNodes].map((node) => node.cloneNode(true)));
      figure.append(img, caption);
      shelf.append(figure);
    });
    find("closer-body").className = [...card.classList].find((name) => /^c\d+$/.test(name)) ?? "";
    const parts = [".score", ".labels-table", ".numbers"].flatMap((name) => card.querySelector(name)?.cloneNode(true) ?? []);
    find("closer-body").replaceChildren(title, parts[0], shelf, ...parts.slice(1));
    find("closer-body").dataset.figure = `${where.textContent} ${known.nameOf(unit)}`;
    if (!find("closer").open) find("closer").showModal();
    address();
  }
  find("previous").addEventListener("click", () => step(-1));
  find("next").addEventListener("click", () => step(1));
  find("closer").addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  find("closer").addEventListener("close", () => {
    const card = known.card(opened);
    opened = null;
    address();
    if (!card.isConnected) return;
    card.scrollIntoView({ block: "nearest" });
    (card.querySelector(".strip") ?? card).focus({ preventScroll: true });
  });
  find("copy").addEventListener("click", async () => {
    const row = known.row(opened);
    const text = [[...row.keys()], [...row.values()]].map((cells) => cells.join("\t")).join("\n");
    find("copied").textContent = (await copy(text)) ? "copied, with the names of its columns" : "this browser did not let it be copied";
  });
  find("save-units").addEventListener("click", () => window.unitlens.saveTable(units(), "units"));

  list.addEventListener("click", (event) => {
    const strip = event.target.closest(".strip");
    if (strip) closer(known.placeOf(strip.closest(".card").id));
  });
  find("closer").addEventListener("click", (event) => {
    if (event.target === find("closer")) find("closer").close();
  });

  // ---- keys, and everything else that is pressed

  document.addEventListener("keydown", (event) => {
    const writing = event.target.closest?.("input, select, textarea, dialog");
    if (event.key === "/" && !writing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      input.search.focus();
      input.search.select();
    }
    if (event.key === "Escape" && event.target === input.search) {
      input.search.value = "";
      input.search.blur();
      anew();
    }
  });

  const form = document.querySelector(".tools");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => { event.preventDefault(); clear(); });
  form.addEventListener("input", (event) => {
    if (event.target === input.category) input.concept.value = "";
    if (event.target === input.layer) recount();
    anew();
  });
  find("clear-too").addEventListener("click", clear);
  find("more").addEventListener("click", extend);
  find("all").addEventListener("click", showAll);
  new IntersectionObserver(([end]) => { if (scrolling && end.isIntersecting) extend(); }, { rootMargin: "1500px" })
    .observe(find("more").parentElement);
  addEventListener("hashchange", follow);

  show();
  document.documentElement.classList.add("ready");
  started = true;
  follow();
})();
