// Makes a viewer of the plain picture of a film: zoom, move, window, invert, maps. Pixels are drawn by the server.
"use strict";
(() => {
  const viewer = document.querySelector(".viewer");
  const stage = viewer?.querySelector(".stage");
  if (!stage) return;
  const sheet = stage.querySelector(".sheet"), state = viewer.querySelector(".state");
  const keys = viewer.querySelector(".keys"), at = `/film/${viewer.dataset.film}`;
  const [centre, width] = ["centre", "width"].map((name) => viewer.querySelector(`[name=${name}]`));
  const maps = [...viewer.querySelectorAll("[data-map]")];
  const screen = Number(viewer.dataset.side), MOST = 16, STEP = 1.25;
  const NAMED = { "[": "narrower", "]": "wider", 0: "own", i: "invert", p: "grid", r: "fit", "?": "help" };

  let film = null; // rows, columns, centre, width, least, greatest: of the film as it was sent
  let own = null, chosen = null; // windows [centre, width]; chosen is null where the film's own is shown
  let inverted = false, finding = "", shares = null, told = "";
  let scale = 1, x = 0, y = 0, fitted = true; // the sheet is as large as the film: scale 1 is a pixel of it to one of CSS

  const layers = { picture: stage.querySelector(".picture"), map: null };
  const wanted = {}, loading = {}, shown = { picture: layers.picture.getAttribute("src") };

  function say(words = told) {
    told = words;
    const zoom = film ? `zoom ${Math.round(scale * 100)} %` : "";
    const [c, w] = chosen ?? own ?? [];
    const look = w === undefined ? "" : `window ${number(c)} / ${number(w)}${chosen ? "" : " as sent"}${inverted ? ", inverted" : ""}`;
    state.textContent = [zoom, look, mapped(), told].filter(Boolean).join("; ");
  }

  function mapped() {
    if (!finding) return "";
    const share = shares?.[finding], name = maps.find((one) => one.dataset.map === finding).dataset.name;
    if (share === undefined) return `map of ${name}`;
    if (share < 0.02) return `map of ${name}: nothing speaks for it`;
    return `map of ${name}${share < 0.5 ? `, weak: ${Math.round(share * 100)} % of the strongest` : ""}`;
  }

  const number = (value) => String(Math.round(value * 10) / 10);

  // One request at a time for each layer; of those that are asked for meanwhile only the last.
  async function load(layer) {
    if (loading[layer]) return;
    loading[layer] = true;
    stage.classList.add("busy");
    while (wanted[layer] && wanted[layer] !== shown[layer]) {
      const url = wanted[layer], image = new Image();
      image.className = layer;
      image.alt = layer === "picture" ? layers.picture.alt : "";
      image.draggable = false;
      image.src = url;
      try {
        await image.decode();
        shown[layer] = url;
        layers[layer] ? layers[layer].replaceWith(image) : sheet.append(image);
        layers[layer] = image;
        say("");
      } catch {
        if (wanted[layer] === url) wanted[layer] = shown[layer];
        say(await why(url));
      }
    }
    loading[layer] = false;
    if (!loading.picture && !loading.map) stage.classList.remove("busy");
    if (layers.map) layers.map.hidden = !finding;
  }

  // The server says in words why there is no picture.
  const words = async (answer) =>
    answer.headers.get("content-type")?.startsWith("text/plain") ? answer.text() : `no picture now (${answer.status}): load the page again`;
  const why = (url) => fetch(url).then(words, () => "the server does not answer: try again");

  // As many pixels as the screen needs now, in steps, so that a small zoom asks for nothing.
  function side() {
    const needed = Math.max(film.rows, film.columns) * scale * devicePixelRatio;
    return [screen, 2 * screen].find((step) => needed <= step * 1.2 && step < Math.max(film.rows, film.columns)) ?? "";
  }

  function draw(quick = false) {
    const query = new URLSearchParams(quick ? { side: screen } : side() ? { side: side() } : {});
    if (chosen) query.set("centre", chosen[0]), query.set("width", chosen[1]);
    if (inverted) query.set("invert", "1");
    wanted.picture = `${at}/picture.png${query.size ? "?" : ""}${query}`;
    load("picture");
    if (finding && !quick) {
      wanted.map = `${at}/map/${encodeURIComponent(finding)}.png?side=${screen}`; // smooth: the browser enlarges it
      load("map");
    }
    if (layers.map) layers.map.hidden = !finding || !shown.map?.includes(`/map/${encodeURIComponent(finding)}.png`);
    for (const [field, value] of [[centre, (chosen ?? own)[0]], [width, (chosen ?? own)[1]]]) {
      if (field !== document.activeElement) field.value = number(value);
    }
    say();
  }

  const fit = () => Math.min(stage.clientWidth / film.columns, stage.clientHeight / film.rows);

  // As high as the window leaves room for.
  function stretch() {
    const above = stage.getBoundingClientRect().top + scrollY, below = viewer.querySelector(".state").offsetHeight + 16;
    stage.style.height = `${Math.max(320, innerHeight - above - below)}px`;
  }

  function place() {
    if (fitted) scale = fit();
    const room = (length, span) => (span <= length ? [(length - span) / 2, (length - span) / 2] : [length - span, 0]);
    const [left, right] = room(stage.clientWidth, film.columns * scale), [top, bottom] = room(stage.clientHeight, film.rows * scale);
    x = Math.min(Math.max(x, left), right);
    y = Math.min(Math.max(y, top), bottom);
    sheet.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
  }

  function zoom(factor, atX = stage.clientWidth / 2, atY = stage.clientHeight / 2) {
    const least = Math.min(fit(), 1), next = Math.min(Math.max(scale * factor, least), Math.max(MOST, least));
    x = atX - ((atX - x) * next) / scale;
    y = atY - ((atY - y) * next) / scale;
    scale = next;
    fitted = next === least && least < 1;
    place();
    settle();
  }

  function move(dx, dy) {
    x += dx;
    y += dy;
    place();
  }

  let waits = 0;
  function settle() {
    say();
    clearTimeout(waits);
    waits = setTimeout(draw, 150);
  }

  function setWindow(c, w, quick = false) {
    if (!Number.isFinite(c) || !Number.isFinite(w) || w <= 0) return say("a window's width is over 0");
    told = "";
    chosen = [c, w];
    draw(quick);
  }

  function press(name, on) {
    viewer.querySelector(`[data-do=${name}]`).setAttribute("aria-pressed", String(on));
  }

  const widened = (factor) => setWindow((chosen ?? own)[0], Math.max((chosen ?? own)[1] * factor, (film.greatest - film.least) / 4096, 0.001));
  const acts = {
    narrower: () => widened(1 / STEP),
    wider: () => widened(STEP),
    own: () => ((chosen = null), draw()),
    invert: () => (press("invert", (inverted = !inverted)), draw()),
    grid: () => press("grid", stage.classList.toggle("grid")),
    fit: () => ((chosen = null), (fitted = true), press("invert", (inverted = false)), show(""), place(), draw()),
    help: () => keys.showModal(),
  };

  async function show(name) {
    if (name) last = name;
    finding = name;
    for (const one of maps) one.setAttribute("aria-pressed", String(one.dataset.map === name));
    viewer.querySelector(".reads").hidden = !name;
    draw();
    if (!name || shares) return;
    shares = await fetch(`${at}/maps.json`).then((answer) => (answer.ok ? answer.json() : {}), () => ({}));
    say();
  }

  let last = (maps.find((one) => one.dataset.first === "1") ?? maps[0])?.dataset.map;

  function onKey(event) {
    const where = document.activeElement;
    if (event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
    if (where !== document.body && where !== stage && !(viewer.contains(where) && where.tagName === "BUTTON")) return;
    const named = NAMED[event.key.toLowerCase()], far = stage.clientWidth / 8;
    const steps = { ArrowLeft: [far, 0], ArrowRight: [-far, 0], ArrowUp: [0, far], ArrowDown: [0, -far] }[event.key];
    if (named) acts[named]();
    else if (event.key === "+" || event.key === "=") zoom(STEP);
    else if (event.key === "-") zoom(1 / STEP);
    else if (steps && where === stage) move(...steps);
    else if (event.key.toLowerCase() === "m" && last) show(finding ? "" : last);
    else if (/^[1-9]$/.test(event.key) && maps[event.key - 1]) maps[event.key - 1].click();
    else return;
    event.preventDefault();
  }

  const held = new Map(); // pointers that are down: places, and the window when the first went down
  function onMove(event) {
    const before = held.get(event.pointerId);
    if (!before) return;
    const [dx, dy] = [event.clientX - before.x, event.clientY - before.y], box = stage.getBoundingClientRect();
    if (held.size === 2) {
      const [other] = [...held].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const [far, near] = [Math.hypot(event.clientX - other.x, event.clientY - other.y), Math.hypot(before.x - other.x, before.y - other.y)];
      if (near > 0) zoom(far / near, (event.clientX + other.x) / 2 - box.left, (event.clientY + other.y) / 2 - box.top);
    } else if (before.right) {
      const span = Math.max(film.greatest - film.least, 1), [c, w] = before.window;
      before.window = [c + (dy / box.height) * span, Math.max(w + (dx / box.width) * span, span / 4096)];
      setWindow(...before.window.map((value) => Math.round(value * 10) / 10), true);
    } else move(dx, dy);
    Object.assign(before, { x: event.clientX, y: event.clientY });
  }

  function listen() {
    stage.addEventListener("wheel", (event) => {
      const box = stage.getBoundingClientRect();
      zoom(Math.exp(-event.deltaY / (event.deltaMode ? 10 : 400)), event.clientX - box.left, event.clientY - box.top);
      event.preventDefault();
    }, { passive: false });
    stage.addEventListener("pointerdown", (event) => {
      stage.focus({ preventScroll: true });
      stage.setPointerCapture(event.pointerId);
      held.set(event.pointerId, { x: event.clientX, y: event.clientY, right: event.button === 2, window: chosen ?? own });
    });
    stage.addEventListener("pointermove", onMove);
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => held.delete(event.pointerId) && settle());
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("dragstart", (event) => event.preventDefault());
    new ResizeObserver(() => (place(), settle())).observe(stage);
    addEventListener("resize", stretch);
    document.addEventListener("keydown", onKey);
    for (const field of [centre, width]) field.addEventListener("change", () => setWindow(Number(centre.value), Number(width.value)));
    for (const button of viewer.querySelectorAll("[data-do]")) button.addEventListener("click", acts[button.dataset.do]);
    for (const one of maps) one.addEventListener("click", () => show(finding === one.dataset.map ? "" : one.dataset.map));
  }

  async function begin() {
    const answer = await fetch(`${at}/picture.json?side=${screen}`);
    if (!answer.ok) return say(await words(answer));
    film = await answer.json();
    own = [film.centre, film.width];
    sheet.style.width = `${film.columns}px`;
    sheet.style.height = `${film.rows}px`;
    stage.classList.add("live");
    for (const bar of viewer.querySelectorAll(".tools")) bar.hidden = false;
    told = film.notes.length ? `shown with: ${film.notes.join("; ")}` : "";
    stretch();
    place();
    draw();
    listen();
  }

  begin().catch(() => say("the server does not answer: load the page again"));
})();
