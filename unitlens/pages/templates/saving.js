"use strict";
// figures as SVG or PNG and tables as CSV: made here of what the page shows, and nothing is asked of a network
(() => {
  const SVG = document.querySelector("svg").namespaceURI;
  const DRAWN = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font", "text-anchor"];
  const pixel = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const shown = (element) => getComputedStyle(element).getPropertyValue("visibility") !== "hidden" && element.getClientRects().length;
  const named = (text) => text.trim().toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 80) || "unitlens";

  function save(name, blob) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // ---- a part of the page as SVG: its boxes, drawings, images and words, each where it stands

  function make(name, attributes, parent) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    parent.append(element);
    return element;
  }

  // any colour of CSS as numbers that every program reads
  function colour(text) {
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = text;
    pixel.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = pixel.getImageData(0, 0, 1, 1).data;
    return { fill: `rgb(${red},${green},${blue})`, "fill-opacity": (alpha / 255).toFixed(3) };
  }

  const within = (box, place) => ({ x: box.x - place.x, y: box.y - place.y, width: box.width, height: box.height });

  function drawing(svg, place, parent) {
    const copy = svg.cloneNode(true);
    const [own, copies] = [svg, copy].map((one) => [one, ...one.querySelectorAll("*")]);
    own.forEach((element, index) => {
      const style = getComputedStyle(element);
      for (const name of DRAWN) copies[index].style.setProperty(name, style.getPropertyValue(name));
      for (const name of ["fill", "stroke"]) {
        const value = style.getPropertyValue(name);
        if (value !== "none") copies[index].style.setProperty(name, colour(value).fill);
      }
      for (const name of ["href", "class", "tabindex"]) copies[index].removeAttribute(name);
    });
    for (const [name, value] of Object.entries(within(svg.getBoundingClientRect(), place))) copy.setAttribute(name, value);
    copy.style.overflow = "visible";
    parent.append(copy);
  }

  // an image, or of a strip the tile that is seen
  function picture(img, place, parent) {
    const box = within(img.getBoundingClientRect(), place);
    const scale = Math.max(box.width / img.naturalWidth, box.height / img.naturalHeight) || 1;
    const [wide, high] = [box.width / scale, box.height / scale];
    const across = parseFloat(getComputedStyle(img).objectPosition) / 100 || 0;
    const view = `${(img.naturalWidth - wide) * across} ${(img.naturalHeight - high) / 2} ${wide} ${high}`;
    const frame = make("svg", { ...box, viewBox: view, preserveAspectRatio: "none" }, parent);
    make("image", { href: img.src, width: img.naturalWidth, height: img.naturalHeight }, frame);
  }

  function box(element, place, parent) {
    const style = getComputedStyle(element);
    const at = within(element.getBoundingClientRect(), place);
    const back = colour(style.backgroundColor);
    if (Number(back["fill-opacity"])) make("rect", { ...at, ...back }, parent);
    const line = parseFloat(style.borderBottomWidth);
    // what is turned by half a circle has its lower border above
    const y = style.transform.startsWith("matrix(-1") ? at.y : at.y + at.height - line;
    if (line) make("rect", { x: at.x, y, width: at.width, height: line, ...colour(style.borderBottomColor) }, parent);
  }

  // the lines of a text that is wrapped, between words or inside of them, each with its box
  function lines(node) {
    const range = document.createRange();
    const found = [];
    for (const { 0: letter, index } of node.data.matchAll(/./gsu)) {
      range.setStart(node, index);
      range.setEnd(node, index + letter.length);
      const rect = range.getClientRects()[0];
      if (!rect?.width) continue;
      const last = found.at(-1);
      if (last && Math.abs(last.rect.y - rect.y) < 2) last.words += letter;
      else found.push({ words: letter, rect });
    }
    return found;
  }

  function words(node, place, parent) {
    const style = getComputedStyle(node.parentElement);
    const size = parseFloat(style.fontSize);
    const font = { "font-family": style.fontFamily, "font-size": size, "font-weight": style.fontWeight, ...colour(style.color) };
    if (style.writingMode.startsWith("vertical")) {
      const range = document.createRange();
      range.selectNodeContents(node);
      const at = within(range.getBoundingClientRect(), place);
      const transform = `translate(${at.x + at.width / 2 + 0.35 * size} ${at.y}) rotate(-90)`;
      make("text", { transform, "text-anchor": "end", ...font }, parent).textContent = node.data.trim();
      return;
    }
    for (const line of lines(node)) {
      const at = within(line.rect, place);
      make("text", { x: at.x, y: at.y + at.height / 2 + 0.35 * size, ...font }, parent).textContent = line.words;
    }
  }

  function part(node, place, parent) {
    if (node.nodeType === Node.TEXT_NODE) {
      if (node.data.trim()) words(node, place, parent);
    } else if (node.nodeType !== Node.ELEMENT_NODE || !shown(node) || node.matches("button, .scale")) {
      return;
    } else if (node.matches("svg")) {
      box(node, place, parent);
      drawing(node, place, parent);
    } else if (node.matches("img")) {
      picture(node, place, parent);
    } else {
      box(node, place, parent);
      for (const child of node.childNodes) part(child, place, parent);
    }
  }

  const MARGIN = 12;
  function figure(element) {
    const seen = [element, ...element.querySelectorAll("*")].filter((one) => shown(one) && (!one.childElementCount || one.matches("svg")));
    const rects = seen.map((one) => one.getBoundingClientRect());
    const edge = { x: Math.min(...rects.map((rect) => rect.left)) - MARGIN, y: Math.min(...rects.map((rect) => rect.top)) - MARGIN };
    const width = Math.ceil(Math.max(...rects.map((rect) => rect.right)) - edge.x + MARGIN);
    const height = Math.ceil(Math.max(...rects.map((rect) => rect.bottom)) - edge.y + MARGIN);
    const svg = document.createElementNS(SVG, "svg");
    for (const [name, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) svg.setAttribute(name, value);
    const paper = document.createElement("span"); // white, or dark where the page is
    paper.style.background = "var(--card)";
    document.body.append(paper);
    make("rect", { width, height, ...colour(getComputedStyle(paper).backgroundColor) }, svg);
    paper.remove();
    part(element, edge, svg);
    return { text: new XMLSerializer().serializeToString(svg), width, height };
  }

  function saveSvg(element, name) {
    save(`${name}.svg`, new Blob([figure(element).text], { type: "image/svg+xml" }));
  }

  const SHARP = 3; // pixels of a PNG for one of the page
  function savePng(element, name) {
    const { text, width, height } = figure(element);
    const image = new Image();
    image.onload = () => {
      const scale = Math.min(SHARP, 12000 / Math.max(width, height));
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [width * scale, height * scale];
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => save(`${name}.png`, blob), "image/png");
    };
    image.src = `data:image/svg+xml,${encodeURIComponent(text)}`;
  }

  // ---- tables

  const quoted = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const csv = (rows) => rows.map((row) => row.map((cell) => quoted(String(cell ?? ""))).join(",")).join("\r\n") + "\r\n";
  const cell = (one) => one.innerText.replace(/\s+/g, " ").trim().replace(/^–$/, "");

  function saveTable(rows, name) {
    save(`${name}.csv`, new Blob([csv(rows)], { type: "text/csv" }));
  }

  // ---- the buttons

  function button(text, title, press) {
    const made = document.createElement("button");
    Object.assign(made, { type: "button", className: "quiet", textContent: text, title });
    made.setAttribute("aria-label", title);
    made.addEventListener("click", press);
    return made;
  }

  function buttons(...several) {
    const line = document.createElement("p");
    line.className = "save";
    line.append("Save ", ...several);
    return line;
  }

  function title(element) {
    const inside = element.dataset.figure || element.getAttribute("aria-label") || element.querySelector("h2, h3, caption, thead th")?.innerText;
    return inside || element.closest("article, section")?.querySelector("h2, h3")?.innerText || document.title;
  }

  for (const element of document.querySelectorAll("[data-figure]")) {
    const name = () => named(title(element));
    element.after(buttons(
      button("SVG", `Save ${element.dataset.figure || "this"} as SVG`, () => saveSvg(element, name())),
      button("PNG", `Save ${element.dataset.figure || "this"} as PNG`, () => savePng(element, name())),
    ));
  }
  for (const table of document.querySelectorAll("table.table")) {
    const name = named(table.closest("article, section")?.querySelector("h2, h3")?.innerText ?? document.title);
    const rows = () => [...table.rows].map((row) => [...row.cells].map(cell));
    (table.closest(".wide") ?? table).after(buttons(button("CSV", "Save this table as CSV", () => saveTable(rows(), name))));
  }
  window.unitlens = { ...window.unitlens, saveTable };
})();
