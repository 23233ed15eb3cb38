// A page that says that all is well must say so itself where it is old: after three refreshes that did not come.
(() => {
  const STALE_MS = 35000;
  let at = Date.now();
  document.addEventListener("htmx:after:swap", () => { at = Date.now(); });
  setInterval(() => {
    const note = document.getElementById("stale");
    if (note) note.hidden = document.hidden || Date.now() - at < STALE_MS;
  }, 1000);
})();
