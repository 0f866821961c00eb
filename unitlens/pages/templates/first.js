"use strict";
// before the first paint: whether scripts run, and the theme that the reader chose last
document.documentElement.classList.add("js");
try {
  const theme = localStorage.getItem("unitlens-theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // a browser that stores nothing for files still shows the page
}
