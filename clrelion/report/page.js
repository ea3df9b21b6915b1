"use strict";
// Zoom, values under the pointer, and downloads; without it the page still shows everything.
const LEFT = 56, TOP = 12, WIDTH = 382, HEIGHT = 238, WIDE = 460, HIGH = 300;
const NS = "http://www.w3.org/2000/svg";
const make = (name, attributes, parent) => {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return parent ? parent.appendChild(made) : made;
};
const exponent = value => value.toExponential(1).replace("+", "").replace(".0e", "e");
const number = (value, decimals) =>
  value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6) ? exponent(value) : value.toFixed(Math.max(0, decimals));
const niceStep = rough => {
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].find(f => rough <= f * power * 1.001) * power;
};

class Axis {
  constructor(svg, name) {
    const [scale, low, high] = svg.dataset[name].split(" ");
    this.scale = scale;
    this.to = scale === "log" ? Math.log10 : v => v;
    this.from = scale === "log" ? v => 10 ** v : v => v;
    this.full = [this.to(+low), this.to(+high)];
    this.now = [...this.full];
    this.label = svg.dataset[name + "Label"];
    this.names = svg.dataset[name + "Names"].split(";").filter(Boolean).map(pair => {
      const at = pair.indexOf(":");
      return [+pair.slice(0, at), pair.slice(at + 1)];
    });
  }
  value(place) { return this.from(this.full[0] + place * (this.full[1] - this.full[0])); }
  place(value) { return (this.to(value) - this.now[0]) / (this.now[1] - this.now[0]); }
  ticks() {
    const low = this.from(this.now[0]), high = this.from(this.now[1]);
    if (this.names.length) {
      const inside = this.names.filter(([v]) => v >= low && v <= high), every = Math.ceil(inside.length / 9);
      return inside.filter((_, i) => i % every === 0).map(([v, text]) => [v, text, ""]);
    }
    if (this.scale === "log" && this.now[1] - this.now[0] > 1) {
      const every = Math.max(1, Math.ceil((this.now[1] - this.now[0]) / 6)), found = [];
      for (let p = Math.ceil(this.now[0] - 1e-9); p <= this.now[1]; p += every)
        found.push([10 ** p, low < 1e-3 ? exponent(10 ** p) : number(10 ** p, Math.max(0, -p)), ""]);
      return found;
    }
    let step = niceStep((high - low) / 6);
    if (this.scale === "count") step = Math.max(1, step);
    const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9)), found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) {
      const v = i * step, below = this.scale === "frequency" && v > 0 ? Number((1 / v).toPrecision(3)) + " Å" : "";
      found.push([v, number(v, decimals), below]);
    }
    return found;
  }
  zoom(a, b) {
    const least = (this.full[1] - this.full[0]) / 500;
    if (b - a < least) return;
    this.now = [Math.max(a, this.full[0]), Math.min(b, this.full[1])];
  }
  get share() { return (this.now[1] - this.now[0]) / (this.full[1] - this.full[0]); }
}

class Plot {
  constructor(svg) {
    this.svg = svg;
    this.data = svg.querySelector(".data");
    this.x = new Axis(svg, "x");
    this.y = new Axis(svg, "y");
    this.curves = [...this.data.querySelectorAll(".curve")].map(path => {
      const dots = path.nextElementSibling && path.nextElementSibling.classList.contains("dots") ? path.nextElementSibling.getAttribute("d") : "";
      const numbers = ((path.getAttribute("d") || dots).match(/-?[\d.]+ -?[\d.]+/g) || []).map(pair => pair.split(" ").map(Number));
      return { label: path.dataset.label, colour: path.classList[1], points: numbers };
    }).filter(curve => curve.label && curve.points.length);
    this.rules = [...svg.querySelectorAll(".rule-label")].map(text => [text, this.y.value(1 - (+text.getAttribute("y") + 5 - TOP) / HEIGHT)]);
    this.reset = svg.closest(".card").querySelector(".reset");
    this.reset.addEventListener("click", () => this.back());
    this.pointers = new Map();
    const on = (name, act) => svg.addEventListener(name, act.bind(this), { passive: false });
    on("pointerdown", this.down); on("pointermove", this.move); on("pointerup", this.up); on("pointercancel", this.up);
    on("pointerleave", () => this.hideTip()); on("dblclick", this.back); on("wheel", this.wheel); on("keydown", this.key);
  }
  spot(event) { // pointer as a place in the data, 0 to 1 from the lower left
    const box = this.svg.getBoundingClientRect(), unit = WIDE / box.width;
    return [((event.clientX - box.left) * unit - LEFT) / WIDTH, 1 - ((event.clientY - box.top) * unit - TOP) / HEIGHT];
  }
  inside([px, py]) { return px >= 0 && px <= 1 && py >= 0 && py <= 1; }
  down(event) {
    const at = this.spot(event);
    if (!this.inside(at)) return;
    this.pointers.set(event.pointerId, at);
    if (event.pointerType === "mouse" || this.svg.classList.contains("zoomed") || this.pointers.size > 1) this.svg.setPointerCapture(event.pointerId);
    this.start = this.pointers.size === 1 ? at : null;
    this.hideTip();
  }
  move(event) {
    const at = this.spot(event);
    if (!this.pointers.has(event.pointerId)) { this.inside(at) && event.pointerType === "mouse" ? this.showTip(event, at) : this.hideTip(); return; }
    const before = this.pointers.get(event.pointerId);
    if (this.pointers.size === 2) { // pinch
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      for (const [axis, i] of [[this.x, 0], [this.y, 1]]) {
        const was = Math.abs(before[i] - other[i]), is = Math.abs(at[i] - other[i]);
        if (was > .08 && is > .08) this.scale(axis, other[i], was / is);
      }
      this.pointers.set(event.pointerId, at);
      this.show();
    } else if (event.pointerType === "mouse" && !event.shiftKey) {
      this.choose(this.start, at);
    } else if (this.svg.classList.contains("zoomed")) { // pan
      this.pan(before[0] - at[0], before[1] - at[1]);
      this.pointers.set(event.pointerId, at);
    }
    event.preventDefault();
  }
  up(event) {
    const at = this.spot(event), start = this.start;
    const tapped = this.pointers.has(event.pointerId) && event.pointerType !== "mouse" && start && Math.hypot(at[0] - start[0], at[1] - start[1]) < .02;
    this.pointers.delete(event.pointerId);
    this.start = null;
    if (tapped) this.showTip(event, at);
    if (!this.box) return;
    this.box.remove();
    this.box = null;
    const edges = [0, 1].map(i => [start[i], Math.min(1, Math.max(0, at[i]))].sort((a, b) => a - b));
    [this.x, this.y].forEach((axis, i) => {
      const [a, b] = edges[i], width = axis.now[1] - axis.now[0];
      if (b - a > .03) axis.zoom(axis.now[0] + a * width, axis.now[0] + b * width);
    });
    this.show();
  }
  choose(a, b) {
    const clip = v => Math.min(1, Math.max(0, v));
    const [x0, x1] = [a[0], clip(b[0])].sort((p, q) => p - q), [y0, y1] = [a[1], clip(b[1])].sort((p, q) => p - q);
    this.box = this.box || make("rect", { class: "choice" }, this.svg);
    const shape = { x: LEFT + x0 * WIDTH, y: TOP + (1 - y1) * HEIGHT, width: (x1 - x0) * WIDTH, height: (y1 - y0) * HEIGHT };
    for (const [key, value] of Object.entries(shape)) this.box.setAttribute(key, value);
  }
  wheel(event) { // only where the plot was clicked or with Ctrl, so that the page scrolls past it
    if (!event.ctrlKey && document.activeElement !== this.svg) return;
    const at = this.spot(event);
    if (!this.inside(at)) return;
    event.preventDefault();
    const factor = 1.0015 ** event.deltaY;
    this.scale(this.x, at[0], factor);
    if (!event.shiftKey) this.scale(this.y, at[1], factor);
    this.show();
  }
  key(event) {
    const acts = {
      "+": () => { this.scale(this.x, .5, .7); this.scale(this.y, .5, .7); }, "-": () => { this.scale(this.x, .5, 1.4); this.scale(this.y, .5, 1.4); },
      "0": () => this.back(), Escape: () => this.back(),
      ArrowLeft: () => this.pan(-.1, 0), ArrowRight: () => this.pan(.1, 0), ArrowUp: () => this.pan(0, .1), ArrowDown: () => this.pan(0, -.1),
    };
    const act = acts[event.key];
    if (!act || (event.key.startsWith("Arrow") && !this.svg.classList.contains("zoomed"))) return;
    event.preventDefault();
    act();
    this.show();
  }
  scale(axis, place, factor) {
    const [a, b] = axis.now, fixed = a + place * (b - a);
    axis.zoom(fixed - (fixed - a) * factor, fixed + (b - fixed) * factor);
  }
  pan(dx, dy) {
    for (const [axis, by] of [[this.x, dx], [this.y, dy]]) {
      const width = axis.now[1] - axis.now[0];
      const a = Math.min(Math.max(axis.now[0] + by * width, axis.full[0]), axis.full[1] - width);
      axis.now = [a, a + width];
    }
    this.show();
  }
  back() { this.x.now = [...this.x.full]; this.y.now = [...this.y.full]; this.show(); }
  show() {
    const place = axis => (axis.now[0] - axis.full[0]) / (axis.full[1] - axis.full[0]);
    const top = 1 - place(this.y) - this.y.share;
    this.data.setAttribute("viewBox", [place(this.x) * WIDTH, top * HEIGHT, this.x.share * WIDTH, this.y.share * HEIGHT].join(" "));
    const zoomed = this.x.share < .999 || this.y.share < .999;
    this.svg.classList.toggle("zoomed", zoomed);
    this.reset.hidden = !zoomed;
    this.svg.querySelectorAll(".grid, .tick").forEach(old => old.remove());
    const text = (x, y, content, style, anchor) => { make("text", { x, y, class: style, "text-anchor": anchor }, this.svg).textContent = content; };
    const grid = d => this.svg.insertBefore(make("path", { class: "grid", d }), this.svg.firstChild);
    for (const [value, label, below] of this.x.ticks()) {
      const x = LEFT + WIDTH * this.x.place(value);
      grid(`M${x} ${TOP}V${TOP + HEIGHT}`);
      text(x, TOP + HEIGHT + 16, label, "tick x", "middle");
      if (below) text(x, TOP + HEIGHT + 29, below, "tick x below", "middle");
    }
    for (const [value, label] of this.y.ticks()) {
      const y = TOP + HEIGHT * (1 - this.y.place(value));
      grid(`M${LEFT} ${y}H${LEFT + WIDTH}`);
      text(LEFT - 6, y + 4, label, "tick y", "end");
    }
    for (const [label, value] of this.rules) {
      const at = this.y.place(value);
      label.setAttribute("y", TOP + HEIGHT * (1 - at) - 5);
      label.style.display = at < 0 || at > 1 ? "none" : "";
    }
  }
  showTip(event, at) {
    if (!this.curves.length) return;
    const box = this.data.viewBox.baseVal, x = box.x + at[0] * box.width;
    const nearest = this.curves.map(c => ({ c, p: c.points.reduce((a, b) => Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a) }));
    const p = nearest.reduce((a, b) => Math.abs(b.p[0] - x) < Math.abs(a.p[0] - x) ? b : a).p;
    const place = p[0] / WIDTH, value = this.x.value(place), name = this.x.names.find(([v]) => Math.abs(v - value) < 1e-3 * (this.x.names.length || 1));
    const tip = document.querySelector(".tip");
    tip.textContent = "";
    const head = document.createElement("div");
    head.textContent = this.x.scale === "frequency" ? `${value.toPrecision(3)} 1/Å = ${(1 / value).toPrecision(3)} Å`
      : `${this.x.label} ${name ? name[1] : Number(value.toPrecision(4))}`;
    tip.append(head);
    for (const { c, p: q } of nearest.slice(0, 12)) {
      if (Math.abs(q[0] - p[0]) > 1) continue;
      const line = document.createElement("div"), mark = document.createElement("i"), text = document.createElement("span");
      line.className = c.colour;
      text.textContent = `${c.label}  ${Number(this.y.value(1 - q[1] / HEIGHT).toPrecision(3))}`;
      line.append(mark, text);
      tip.append(line);
    }
    tip.hidden = false;
    const width = tip.offsetWidth, height = tip.offsetHeight;
    tip.style.left = Math.max(6, Math.min(event.clientX + 16, innerWidth - width - 6)) + "px";
    tip.style.top = Math.max(6, event.clientY - height - 14) + "px";
    const cursor = this.cursor || (this.cursor = make("path", { class: "cursor" }, this.data));
    cursor.setAttribute("d", `M${p[0]} -9999V9999`);
  }
  hideTip() { document.querySelector(".tip").hidden = true; if (this.cursor) { this.cursor.remove(); this.cursor = null; } }
}

const save = (blob, name) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
};
const tableCsv = table => [...table.rows].map(row => [...row.cells].map(cell => {
  const text = cell.dataset.value ?? cell.textContent;
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text === "–" ? "" : text;
}).join(",")).join("\n") + "\n";
const plain = svg => { // a copy that holds its own colours and fonts
  const copy = svg.cloneNode(true), of = [svg, ...svg.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((element, i) => {
    const style = getComputedStyle(of[i]);
    for (const key of ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-opacity", "fill-opacity", "font-size", "font-family", "vector-effect"])
      element.style.setProperty(key, style.getPropertyValue(key));
  });
  copy.setAttribute("xmlns", NS);
  copy.setAttribute("width", 2 * WIDE);
  copy.setAttribute("height", 2 * HIGH);
  copy.insertBefore(make("rect", { width: WIDE, height: HIGH, style: `fill:${getComputedStyle(svg.closest(".card")).backgroundColor}` }), copy.firstChild);
  return new XMLSerializer().serializeToString(copy);
};
document.querySelectorAll(".card[data-key]").forEach(card => {
  const svg = card.querySelector("svg.plot"), table = card.querySelector("table"), name = document.body.dataset.name + "_" + card.dataset.key;
  if (svg) new Plot(svg);
  const act = (kind, run) => { const button = card.querySelector(`[data-save="${kind}"]`); if (button) button.addEventListener("click", run); };
  act("csv", () => save(new Blob(["\ufeff" + tableCsv(table)], { type: "text/csv" }), name + ".csv"));
  act("svg", () => save(new Blob([plain(svg)], { type: "image/svg+xml" }), name + ".svg"));
});

const dialog = document.querySelector("dialog"), large = dialog.querySelector("img"), under = dialog.querySelector("p");
let view = { x: 0, y: 0, k: 1 }, fingers = new Map();
const place = () => { large.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.k})`; large.style.imageRendering = view.k > 3 ? "pixelated" : "auto"; };
document.querySelectorAll(".panels img").forEach(image => image.addEventListener("click", () => {
  large.src = image.src;
  large.className = image.naturalWidth > 1.5 * image.naturalHeight ? "broad" : "";
  under.textContent = image.alt;
  view = { x: 0, y: 0, k: 1 };
  place();
  dialog.showModal();
}));
const enlarge = (factor, event) => {
  const k = Math.min(20, Math.max(1, view.k * factor)), by = k / view.k, x = event.clientX - innerWidth / 2, y = event.clientY - innerHeight / 2;
  view = k === 1 ? { x: 0, y: 0, k } : { x: x - (x - view.x) * by, y: y - (y - view.y) * by, k };
  place();
};
dialog.addEventListener("wheel", event => { event.preventDefault(); enlarge(1.0015 ** -event.deltaY, event); }, { passive: false });
large.addEventListener("pointerdown", event => { event.preventDefault(); large.setPointerCapture(event.pointerId); fingers.set(event.pointerId, event); });
large.addEventListener("pointermove", event => {
  const before = fingers.get(event.pointerId);
  if (!before) return;
  if (fingers.size === 2) {
    const other = [...fingers].find(([id]) => id !== event.pointerId)[1], gap = e => Math.hypot(e.clientX - other.clientX, e.clientY - other.clientY);
    if (gap(before) > 10) enlarge(gap(event) / gap(before), other);
  } else if (view.k > 1) { view.x += event.clientX - before.clientX; view.y += event.clientY - before.clientY; place(); }
  fingers.set(event.pointerId, event);
});
["pointerup", "pointercancel"].forEach(name => large.addEventListener(name, event => fingers.delete(event.pointerId)));
dialog.querySelector("button").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });

// While the run goes on: show its next iteration, unless somebody is looking at something closely.
if (document.body.dataset.reload) setInterval(() => {
  if (!document.hidden && !document.querySelector("svg.zoomed, details[open], dialog[open]")) location.reload();
}, 1000 * document.body.dataset.reload);
