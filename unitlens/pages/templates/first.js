"use strict";
// before the first paint: units come in portions, and the reader's last choice of light or dark stands
document.documentElement.classList.add("js");
try {
  const theme = localStorage.getItem("unitlens-theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // a browser that keeps nothing for a file still shows the page
}
