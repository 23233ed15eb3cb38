// A page that says that all is well must say so itself where it is old: after three refreshes that did not come.
(() => {
  const STALE_MS = 35000;
  let seen = "", at = Date.now();
  setInterval(() => {
    const looked = document.getElementById("looked").textContent;
    if (looked !== seen) [seen, at] = [looked, Date.now()];
    document.getElementById("stale").hidden = Date.now() - at < STALE_MS;
  }, 1000);
})();
