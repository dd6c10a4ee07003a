// The book's live figures: one custom element, <dynattn-live kind="..." data="{...}">, in plain JavaScript and SVG.
// A new figure is one entry of `kinds`: it makes its controls, and returns a function that draws.
(() => {
  "use strict";

  // ------------------------------------------------------------------------------------------- arithmetic
  // Matrices are arrays of rows, in double precision; the same formulas as in dynattn.attention.

  const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
  const transpose = (M) => M[0].map((_, j) => M.map((row) => row[j]));
  const matmul = (A, B) => {
    const columns = transpose(B);
    return A.map((row) => columns.map((column) => dot(row, column)));
  };
  const add = (A, B) => A.map((row, i) => row.map((x, j) => x + B[i][j]));
  const times = (A, x) => A.map((row) => row.map((y) => x * y));
  const linear = (X, W) => matmul(X, transpose(W)); // W is (out, in), as nn.Linear stores it

  function softmax(row) {
    const largest = Math.max(...row);
    const powers = row.map((x) => Math.exp(x - largest));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((x) => x / sum);
  }

  /** The computed weights A (n_q, n_k); mask[i][j] is true where query i may look at key j. */
  function weights(Q, K, { scale = 1 / Math.sqrt(K[0].length), mask = null } = {}) {
    return Q.map((q, i) => softmax(K.map((k, j) => (mask && !mask[i][j] ? -Infinity : dot(q, k) * scale))));
  }

  // ---------------------------------------------------------------------------------------- banks of weights

  const distance = (A, B) => A.reduce((sum, row, i) => row.reduce((s, x, j) => s + (x - B[i][j]) ** 2, sum), 0);
  const nearest = (bank, A) => bank.reduce((best, B) => (distance(A, B) < distance(A, best) ? B : best));

  /** g rows of n shares: the first g - 1 places alone, the others together. */
  const groupRows = (n, g) => Array.from({ length: g }, (_, m) => Array.from({ length: n }, (_, j) => (m < g - 1 ? Number(j === m) : Number(j >= m) / (n - m))));

  /** Every whole matrix whose row i is one of split[i] such rows. */
  const wholeBank = (split) => split.reduce((bank, g) => bank.flatMap((rows) => groupRows(split.length, g).map((row) => [...rows, row])), [[]]);

  /** The sum of orthonormal matrices that comes nearest to A. */
  const addedUp = (basis, A) => basis.map((B) => times(B, dot(A.flat(), B.flat()))).reduce(add);

  // ------------------------------------------------------------------------------------- a head over words

  /** Cut a typed sentence into tokens: words and marks. */
  const tokenize = (text) => text.match(/[\p{L}\p{N}'’-]+|[^\s\p{L}\p{N}]/gu) || [];

  /** Features of tokens: the word's learned vector plus that of its place; unknown words are listed. */
  function embed(head, tokens) {
    const unknown = tokens.filter((token) => !(token.toLowerCase() in head.index));
    if (unknown.length) return { unknown };
    const X = tokens.map((token, i) => head.words[head.index[token.toLowerCase()]].map((x, f) => x + head.places[i][f]));
    return { unknown, X };
  }

  const headWeights = (head, X) => weights(linear(X, head.W_Q), linear(X, head.W_K));

  /** For each token the word that the head's answer names, given any weights. */
  function answers(head, A, X) {
    const scores = linear(linear(matmul(A, X), head.W_V), head.readout);
    return scores.map((row) => head.vocabulary[row.indexOf(Math.max(...row))]);
  }

  function withIndex(head) {
    head.index = Object.create(null);
    head.vocabulary.forEach((word, i) => (head.index[word.toLowerCase()] = i));
    return head;
  }

  // ------------------------------------------------------------------------------------------ a small GPT

  /** The error function: a series whose terms all have one sign, right to 1e-14; beyond 6 it is 1. */
  function erf(x) {
    const a = Math.min(Math.abs(x), 6);
    let term = a, sum = a;
    for (let n = 3; term > 1e-17 * sum; n += 2) sum += term *= 2 * a * a / n;
    return Math.sign(x) * 2 / Math.sqrt(Math.PI) * Math.exp(-a * a) * sum;
  }

  const gelu = (x) => 0.5 * x * (1 + erf(x / Math.SQRT2));

  /** W x + b, for W (out, in) stored row by row; four sums at a time, which do not wait for each other. */
  function affine(W, x, b) {
    const n = x.length, whole = n - n % 4, y = new Float64Array(W.length / n);
    for (let o = 0, at = 0; o < y.length; o++, at += n) {
      let s = b ? b[o] : 0, t = 0, u = 0, v = 0, i = 0;
      for (; i < whole; i += 4) {
        s += W[at + i] * x[i];
        t += W[at + i + 1] * x[i + 1];
        u += W[at + i + 2] * x[i + 2];
        v += W[at + i + 3] * x[i + 3];
      }
      for (; i < n; i++) s += W[at + i] * x[i];
      y[o] = s + t + u + v;
    }
    return y;
  }

  function layerNorm(x, gain, shift) {
    const mean = x.reduce((sum, v) => sum + v) / x.length;
    const spread = Math.sqrt(x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / x.length + 1e-5);
    return x.map((v, f) => (v - mean) / spread * gain[f] + shift[f]);
  }

  /** The network that dynattn.transformer.export wrote: its layout, and little-endian float16 numbers. */
  function unpack(layout, bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length), P = {};
    const numbers = Float32Array.from({ length: bytes.length >> 1 }, (_, i) => {
      const half = view.getUint16(2 * i, true), exponent = half >> 10 & 31, rest = half & 1023;
      return (half >> 15 ? -1 : 1) * (exponent ? (1024 + rest) * 2 ** (exponent - 25) : rest * 2 ** -24);
    });
    let at = 0;
    for (const [name, shape] of layout.parameters) P[name] = numbers.subarray(at, at += shape.reduce((a, b) => a * b));
    if (2 * at !== bytes.length) throw new Error(`${bytes.length} bytes, expected ${2 * at}`);
    return withIndex({ ...layout, vocabulary: [...layout.vocabulary], P });
  }

  /** Characters of a text that the network knows, the last `context` of them; and those that it does not know. */
  function characters(net, text) {
    const all = [...text.toLowerCase()], known = all.filter((c) => c in net.index);
    return { ids: known.slice(-net.context).map((c) => net.index[c]), length: known.length,
      unknown: [...new Set(all.filter((c) => !(c in net.index)))] };
  }

  /** All that the network computes at the next place: its rows of A in every layer and head, and its logits. */
  function place(net, id, before) {
    const { P, d_model: d } = net, size = d / net.n_heads, row = { id, K: [], V: [], A: [] }, rows = [...before, row];
    let x = Float64Array.from({ length: d }, (_, f) => P["tokens.weight"][id * d + f] + P["places.weight"][before.length * d + f]);
    const plus = (y) => { x = x.map((v, f) => v + y[f]); };
    for (let layer = 0; layer < net.n_layers; layer++) {
      const both = (name) => [P[`blocks.${layer}.${name}.weight`], P[`blocks.${layer}.${name}.bias`]];
      const norm = (name) => layerNorm(x, ...both(name));
      const through = (name, v) => { const [W, b] = both(name); return affine(W, v, b); };
      const seen = norm("norm_attention"), q = through("attention.W_Q", seen), mixed = new Float64Array(d);
      row.K[layer] = through("attention.W_K", seen);
      row.V[layer] = through("attention.W_V", seen);
      row.A[layer] = Array.from({ length: net.n_heads }, (_, head) => {
        const from = head * size, to = from + size;
        const A = softmax(rows.map(({ K }) => {
          let sum = 0;
          for (let f = from; f < to; f++) sum += q[f] * K[layer][f];
          return sum / Math.sqrt(size);
        }));
        A.forEach((a, j) => { for (let f = from; f < to; f++) mixed[f] += a * rows[j].V[layer][f]; });
        return A;
      });
      plus(through("attention.W_O", mixed));
      plus(through("mlp.2", through("mlp.0", norm("norm_mlp")).map(gelu)));
    }
    row.logits = affine(P["tokens.weight"], layerNorm(x, P["norm.weight"], P["norm.bias"]));
    return row;
  }

  /** What the network computes at each place; places that `known` has already, from a text that begins alike, stay. */
  function read(net, ids, known = []) {
    const changed = ids.findIndex((id, i) => known[i]?.id !== id);
    const rows = known.slice(0, changed < 0 ? ids.length : changed);
    while (rows.length < ids.length) rows.push(place(net, ids[rows.length], rows));
    return rows;
  }

  const largest = (row) => row.indexOf(Math.max(...row));

  /** How far apart two layers' weights are, [head][row]: half the summed differences of a row, on average over rows. */
  const apart = (A, B) => {
    const rows = A.flatMap((M, h) => M.map((row, i) => row.reduce((sum, a, j) => sum + Math.abs(a - B[h][i][j]) / 2, 0)));
    return rows.reduce((a, b) => a + b) / rows.length;
  };

  // ---------------------------------------------------------------------------------------------- drawing

  const SVG = "http://www.w3.org/2000/svg";

  function element(name, attributes = {}, ...children) {
    const svg = ["svg", "g", "line", "circle", "rect", "text", "path", "polygon"].includes(name);
    const node = svg ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children); // strings become text, never markup
    return node;
  }

  const number = (x, digits = 2) => (Math.abs(x) < 0.5 * 10 ** -digits ? 0 : x).toFixed(digits).replace("-", "−");

  /** A drawing area of its own; several stand side by side, or below each other on a phone. */
  function stage(panel, title, width, height) {
    // Handles lie above the picture and outlive it: a redraw must not take away their focus or their pointer.
    const picture = element("g", { role: "img" }), handles = element("g");
    const svg = element("svg", { viewBox: `0 0 ${width} ${height}` }, picture, handles);
    panel.stages.append(element("div", { class: "stage", style: `max-width:${width * 1.25}px` }, element("p", {}, title), svg));
    return {
      svg, handles, width, height,
      clear(label, newHeight = height) {
        picture.setAttribute("aria-label", label);
        svg.setAttribute("viewBox", `0 0 ${width} ${newHeight}`);
        picture.replaceChildren();
      },
      put(name, attributes, ...children) { picture.append(element(name, attributes, ...children)); },
    };
  }

  // The colour of computed weights, on a light page and on a dark one.
  const COMPUTED = { light: [213, 94, 0], dark: [240, 138, 60] };

  const visible = (character) => (character === " " ? "␣" : /^\p{M}/u.test(character) ? `◌${character}` : character);

  /** A causal matrix as pixels, one a cell; opaque as the root of the weight, so that small ones can be seen. */
  function paint(canvas, A, colour) {
    const n = canvas.width = canvas.height = A.length, context = canvas.getContext("2d"), image = context.createImageData(n, n);
    A.forEach((row, i) => row.forEach((a, j) => image.data.set([...colour, 255 * Math.sqrt(a)], 4 * (i * n + j))));
    context.putImageData(image, 0, 0);
  }

  /** The frame of a square matrix, with a character at each row and column; those of the cell in question are strong. */
  function lettered(area, x, y, cell, letters, [row, column] = []) {
    const style = `font-size:${Math.min(13, cell)}px`;
    area.put("rect", { class: "frame", x, y, width: cell * letters.length, height: cell * letters.length });
    letters.forEach((letter, i) => {
      const middle = (i + 0.5) * cell;
      area.put("text", { style, class: i === row ? "strong" : "", x: x - 9, y: y + middle + 0.35 * Math.min(13, cell), "text-anchor": "middle" }, letter);
      area.put("text", { style, class: i === column ? "strong" : "", x: x + middle, y: y - 5, "text-anchor": "middle" }, letter);
    });
  }

  /** Names with bars of their values, from 0 to `full`; what is said of a name stands behind its number. */
  function bars(area, label, rows, full, left = 84) {
    const step = 22, width = area.width - left - 116;
    area.clear(label, step * rows.length + 4);
    rows.forEach(([name, value, said = "", strong = false], k) => {
      area.put("text", { class: strong ? "strong" : "", x: left - 8, y: step * k + 16, "text-anchor": "end" }, name);
      area.put("rect", { class: "node", x: left, y: step * k + 4, width: width * value / full, height: step - 7 });
      area.put("text", { x: left + width * value / full + 8, y: step * k + 16 }, `${number(value, 3)} ${said}`);
    });
  }

  /** Two columns of tokens joined by lines as wide as the weights; dashed where negative. */
  function network(area, M, kind, inputs, outputs, label, limit = 1) {
    const step = 30, top = 18, left = 92, right = area.width - 92;
    area.clear(label, 2 * top + step * (Math.max(inputs.length, outputs.length) - 1));
    M.forEach((row, i) => row.forEach((w, j) => {
      const size = Math.min(1, Math.abs(w) / limit);
      if (size < 0.015) return;
      const line = { class: kind, x1: left, y1: top + j * step, x2: right, y2: top + i * step,
        "stroke-width": 6.5 * size, "stroke-opacity": 0.25 + 0.7 * size };
      if (w < 0) line["stroke-dasharray"] = "5 4";
      area.put("line", line);
    }));
    for (const [x, tokens, anchor, shift] of [[left, inputs, "end", -9], [right, outputs, "start", 9]]) {
      tokens.forEach((token, i) => {
        area.put("circle", { class: "node", cx: x, cy: top + i * step, r: 4 });
        area.put("text", { x: x + shift, y: top + i * step + 4.5, "text-anchor": anchor }, token);
      });
    }
  }

  /** Texts below one another, and lines to those who read them, as wide as the weights (at most 1); dashed where negative. */
  function reading(area, kind, rows, texts, left, right, y, ends) {
    rows.forEach((row, h) => row.forEach((w, j) => {
      const size = Math.abs(w);
      if (size < 0.02) return;
      const line = { class: kind, x1: left, y1: y(j), x2: right, y2: ends[h], "stroke-width": 6.5 * size, "stroke-opacity": 0.25 + 0.7 * size };
      area.put("line", w < 0 ? { ...line, "stroke-dasharray": "5 4" } : line);
    }));
    texts.forEach((text, j) => {
      area.put("circle", { class: "node", cx: left, cy: y(j), r: 4 });
      area.put("text", { x: left - 9, y: y(j) + 4.5, "text-anchor": "end" }, text);
    });
    for (const end of ends) area.put("circle", { class: "node", cx: right, cy: end, r: 4 });
  }

  /** Where the name of an arrow stands: beyond its tip, or beside it where it points down, so that of two in a line both can be read. */
  function beyond(dx, dy) {
    const long = Math.hypot(dx, dy) || 1, [x, y] = [dx / long, dy / long];
    return y > 0.3 ? [Math.sign(x || 1) * y, -Math.abs(x)] : [x, y];
  }
  const anchor = (x) => (x > 0.5 ? "start" : x < -0.5 ? "end" : "middle");

  /** A table of cells, the darker the larger; A from clear to full, W with its sign in two colours. */
  function heat(area, M, kind, rows, columns, label, limit) {
    const side = area.width - 92, cell = Math.min(34, side / M[0].length);
    const turned = columns && columns.some((c) => c.length > 3), high = turned ? 58 : columns ? 20 : 6;
    area.clear(label, high + cell * M.length + 4);
    const largest = limit || Math.max(1e-9, ...M.flat().map(Math.abs));
    M.forEach((row, i) => row.forEach((w, j) => {
      area.put("rect", { class: kind === "A" || w >= 0 ? kind : "negative", x: 86 + j * cell, y: high + i * cell, width: cell,
        height: cell, "fill-opacity": Math.min(1, Math.abs(w) / largest) });
    }));
    area.put("rect", { class: "frame", x: 86, y: high, width: cell * M[0].length, height: cell * M.length });
    if (rows) rows.forEach((t, i) => area.put("text", { x: 80, y: high + (i + 0.5) * cell + 4, "text-anchor": "end" }, t));
    if (columns) columns.forEach((t, j) => area.put("text", { "text-anchor": turned ? "start" : "middle",
      transform: `translate(${86 + (j + 0.5) * cell},${high - 5}) rotate(${turned ? -50 : 0})` }, t));
  }

  // ---------------------------------------------------------------------------------------------- controls

  let ids = 0;

  class Panel {
    constructor(host, root) {
      this.host = host;
      this.controls = element("div", { class: "controls" });
      this.stages = element("div", { class: "stages" });
      this.status = element("p", { class: "status", role: "status", "aria-live": "polite" });
      this.numbers = element("div", { class: "numbers", tabindex: "0", role: "group", "aria-label": "Numbers of the figure" });
      this.details = element("details", {}, element("summary", {}, "The numbers"), this.numbers);
      this.details.addEventListener("toggle", () => this.fill());
      root.append(this.controls, this.stages, this.status, this.details);
    }

    field(label, input, after = "") {
      input.id = `live-${++ids}`;
      this.controls.append(element("div", { class: "field" }, element("label", { for: input.id }, label), input, after));
      input.addEventListener("input", () => this.host.redraw());
      return input;
    }

    choice(label, options) {
      const select = element("select", {}, ...options.map((text, i) => element("option", { value: i }, text)));
      this.field(label, select);
      return { input: select, get value() { return Number(select.value); }, set value(i) { select.value = i; } };
    }

    slider(label, { min, max, step, value, show = (x) => String(x) }) {
      const shown = element("span", { class: "shown", "aria-hidden": "true" });
      const input = element("input", { type: "range", min, max, step, value });
      const tell = () => { shown.textContent = show(Number(input.value)); input.setAttribute("aria-valuetext", shown.textContent); };
      input.addEventListener("input", tell);
      this.field(label, input, shown);
      tell();
      return { get value() { return Number(input.value); } };
    }

    button(label, press) {
      const button = element("button", { type: "button" }, label);
      button.addEventListener("click", press);
      this.controls.append(button);
      return button;
    }

    /** One of several that are all in view; `options` are texts or nodes. */
    radios(legend, options, value = 0) {
      const name = `live-${++ids}`, inputs = options.map(() => element("input", { type: "radio", name }));
      const labels = options.map((option, i) => element("label", {}, inputs[i], option));
      const set = element("fieldset", {}, element("legend", {}, legend), ...labels);
      inputs[value].checked = true;
      set.addEventListener("input", () => this.host.redraw());
      this.controls.append(set);
      return { set, inputs, labels, get value() { return inputs.findIndex((input) => input.checked); } };
    }

    /** A button that loads what the figure computes with, and only then; so long the still picture stays. */
    offer(file, size, begin) {
      const name = file.split("/").pop(), slot = element("div", { class: "whole" }, element("slot"));
      const arrived = () => {
        if (this.host.draw) return; // pressed twice
        try {
          begin(globalThis.dynattnPayloads[name]);
        } catch (error) {
          this.status.textContent = "What came is not the network: it could not be read.";
          throw error;
        }
        for (const node of [button, slot]) node.remove();
        this.details.hidden = false;
        this.controls.querySelector("input").focus();
      };
      const button = this.button(`Load the network, ${size}`, () => {
        if (globalThis.dynattnPayloads?.[name]) return arrived();
        const script = element("script", { src: file });
        script.addEventListener("load", arrived);
        script.addEventListener("error", () => {
          script.remove();
          this.status.textContent = "The network could not be loaded. The button tries again.";
        });
        this.status.textContent = "The network is being loaded.";
        document.head.append(script);
      });
      this.stages.append(slot);
      this.details.hidden = true;
    }

    toggle(label, on) {
      const input = element("input", { type: "checkbox" });
      input.checked = on;
      this.field(label, input);
      return { get value() { return input.checked; } };
    }

    text(label, value) {
      const input = element("input", { type: "text", value, autocomplete: "off", spellcheck: "false", maxlength: 120 });
      this.field(label, input);
      return { input, get value() { return input.value; }, set value(text) { input.value = text; } };
    }

    /** A sentence: one of a list, or typed. */
    sentence(label, list) {
      const choice = this.choice(label, [...list, "… or type one"]);
      const typed = this.text(`${label}, typed`, list[0]);
      choice.input.addEventListener("input", () => { if (choice.value < list.length) typed.value = list[choice.value]; });
      typed.input.addEventListener("input", () => { if (typed.value !== list[choice.value]) choice.value = list.length; });
      return typed;
    }

    /** A point of a drawing that can be dragged, or moved by the arrow keys; `to` turns pixels into coordinates. */
    /** limits: the least and the largest, across and up. */
    handle(area, label, place, move, { step = 0.1, limits = [[-2.6, 2.6], [-2.6, 2.6]] } = {}) {
      const node = element("circle", { class: "handle", r: 11, tabindex: "0", role: "slider", "aria-label": label,
        "aria-valuemin": limits[0][0], "aria-valuemax": limits[0][1] });
      area.handles.append(node);
      const set = (...to) => { move(...to.map((v, k) => Math.max(limits[k][0], Math.min(limits[k][1], v)))); this.host.redraw(); };
      node.addEventListener("pointerdown", (event) => { node.setPointerCapture(event.pointerId); event.preventDefault(); node.focus(); });
      node.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false }); // the page must not scroll
      node.addEventListener("pointermove", (event) => {
        if (!node.hasPointerCapture(event.pointerId)) return;
        const box = area.svg.getBoundingClientRect();
        set(...area.from((event.clientX - box.left) / box.width * area.width, (event.clientY - box.top) / box.height * area.height));
      });
      node.addEventListener("keydown", (event) => {
        const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key];
        if (!by) return;
        event.preventDefault();
        const [x, y] = place();
        set(x + by[0], y + by[1]);
      });
      return () => {
        const [x, y] = place(), [cx, cy] = area.to(x, y);
        node.setAttribute("cx", cx);
        node.setAttribute("cy", cy);
        node.setAttribute("aria-valuenow", x.toFixed(2));
        node.setAttribute("aria-valuetext", `${number(x, 1)} across, ${number(y, 1)} up`);
      };
    }

    /** Large tables are made when they are looked at. */
    tableWhenOpen(make) {
      this.make = make;
      this.fill();
    }

    fill() {
      if (this.make && this.details.open) this.table(this.make());
    }

    table(tables) {
      this.numbers.replaceChildren(...tables.map(({ caption, columns, rows }) => element("table", {},
        element("caption", {}, caption),
        element("thead", {}, element("tr", {}, ...["", ...columns].map((c) => element(c === "" ? "td" : "th", c === "" ? {} : { scope: "col" }, c)))),
        element("tbody", {}, ...rows.map(([head, ...cells]) => element("tr", {}, element("th", { scope: "row" }, head),
          ...cells.map((c) => element("td", {}, typeof c === "number" ? number(c, 3) : c))))))));
    }
  }

  const matrixTable = (caption, M, rows, columns) => ({ caption, columns, rows: M.map((row, i) => [rows[i], ...row]) });

  // ----------------------------------------------------------------------------------------------- figures

  const places = (n) => Array.from({ length: n }, (_, i) => String(i + 1));
  const strongest = (A, tokens, i) => { const j = A[i].indexOf(Math.max(...A[i])); return `“${tokens[i]}” reads ${number(A[i][j])} from “${tokens[j]}”`; };

  const hot = (words, word) => words.map((other) => Number(other === word));

  const kinds = {
    /** data: {layers, sets}: facts, one a token, and a question; which fact attention reads from, and what a static layer does. */
    lookup(panel, data) {
      const { names, drinks, W_Q, W_K, W_V, W, V } = data.layers, people = data.sets[0].map(([name]) => name);
      const token = (name, drink, about) => [...hot(names, name), ...hot(drinks, drink), ...hot(names, about)];
      let at = 0;
      const who = panel.radios("What does", people, 1);
      who.set.append(element("span", {}, "drink?"));
      panel.button("Different facts", () => { at = (at + 1) % data.sets.length; panel.host.redraw(); });
      const computed = stage(panel, "attention: weights computed", 340, 150), learned = stage(panel, "static: weights learned", 340, 150);
      const likeliest = (chances, most) => [...chances.keys()].sort((a, b) => chances[b] - chances[a]).slice(0, most)
        .map((i) => `${drinks[i]} ${Math.round(100 * chances[i])}%`);
      return () => {
        const facts = data.sets[at], asked = people[who.value], X = [...facts.map(([name, drink]) => token(name, drink)), token(null, null, asked)];
        const row = weights([linear(X, W_Q).at(-1)], linear(X, W_K))[0], fixed = W.at(-1);
        const chances = softmax(matmul([row], linear(X, W_V))[0]), guess = softmax(matmul([fixed], linear(X, V))[0]);
        const said = [...facts.map(([name, drink]) => `${name} drinks ${drink}`), `What does ${asked} drink?`];
        const answer = likeliest(chances, 1), guesses = likeliest(guess, facts.length), best = row.indexOf(Math.max(...row));
        for (const [area, w, kind, answers] of [[computed, row, "A", answer], [learned, fixed, "W", guesses]]) {
          const left = 158, right = 236, y = (i) => 22 + 34 * i, end = y(said.length - 1), largest = Math.max(...w.map(Math.abs));
          area.clear(`The question reads: ${said.map((text, i) => `${number(w[i])} from “${text}”`).join("; ")}. Answer: ${answers.join(", ")}.`);
          reading(area, kind, times([w], 1 / largest), said, left, right, y, [end]);
          answers.forEach((text, k) => area.put("text", { x: right + 9, y: end + 4.5 - 16 * (answers.length - 1 - k), class: "strong" }, text));
        }
        panel.table([{ caption: "How much the question reads", columns: ["attention", "static"], rows: said.map((text, i) => [text, row[i], fixed[i]]) },
          { caption: "How likely each layer finds each answer", columns: ["attention", "static"], rows: drinks.map((drink, i) => [drink, chances[i], guess[i]]) }]);
        return `Attention reads ${number(row[best])} from “${said[best]}” and answers: ${answer[0]}. The static layer guesses: ${guesses.join(", ")}.`;
      };
    },

    /** data: {layers: {names, drinks, one, two}, sets}: a question about two people, read by one head and by two. */
    pairs(panel, data) {
      const { names, drinks } = data.layers, people = data.sets[0].map(([name]) => name);
      const pairs = people.flatMap((a) => people.filter((b) => b !== a).map((b) => [a, b]));
      let at = 0;
      const who = panel.choice("Question", pairs.map(([a, b]) => `What do ${a} and ${b} drink?`));
      panel.button("Different facts", () => { at = (at + 1) % data.sets.length; panel.host.redraw(); });
      const layers = [[data.layers.one, "one head"], [data.layers.two, "two heads"]].map(([layer, name]) => ({ ...layer, name, area: stage(panel, name, 340, 160) }));
      return () => {
        const facts = data.sets[at], asked = pairs[who.value], told = facts.map(([name, drink]) => `${name} drinks ${drink}`);
        const X = facts.map(([name, drink]) => [...hot(names, name), ...hot(drinks, drink)]), question = asked.flatMap((name) => hot(names, name));
        const keyed = facts.map(([name]) => [...hot(names, name), ...hot(drinks, null)]); // keys are made from the names alone
        const tables = [], said = [];
        for (const { name, area, heads, W_Q, W_K, W_V, W_O } of layers) {
          const q = linear([question], W_Q)[0], K = linear(keyed, W_K), V = linear(X, W_V), width = q.length / heads;
          const own = (row, h) => row.slice(h * width, (h + 1) * width), which = Array.from({ length: heads }, (_, h) => (heads > 1 ? `head ${h + 1}` : "the head"));
          const A = which.map((_, h) => weights([own(q, h)], K.map((k) => own(k, h)))[0]);
          const mixed = A.flatMap((row, h) => matmul([row], V.map((v) => own(v, h)))[0]), out = linear([mixed], W_O)[0];
          const scores = asked.map((_, i) => out.slice(i * drinks.length, (i + 1) * drinks.length));
          const best = scores.map((row) => row.indexOf(Math.max(...row)));
          const answer = asked.map((person, i) => `${person}: ${drinks[best[i]]} ${number(scores[i][best[i]])}`);
          const left = 128, right = 224, y = (j) => 20 + 34 * j, end = (h) => (heads > 1 ? 37 + 34 * h : y(1));
          area.clear(`${which.map((head, h) => `${head} reads ${told.map((fact, j) => `${number(A[h][j])} from “${fact}”`).join(", ")}`).join("; ")}. ${answer.join("; ")}.`);
          reading(area, "A", A, told, left, right, y, which.map((_, h) => end(h)));
          which.forEach((head, h) => area.put("text", { x: right + 9, y: end(h) + 4.5 }, head));
          scores.forEach((row, i) => {
            const two = [...row.keys()].sort((a, b) => row[b] - row[a]).slice(0, 2).filter((k) => row[k] > 0.1);
            area.put("text", { x: 10, y: 128 + 20 * i, class: "strong" }, `${asked[i]}: ${two.map((k) => `${drinks[k]} ${number(row[k])}`).join(", ")}`);
          });
          tables.push(matrixTable(`${name}: how much it reads`, A, which, told), matrixTable(`${name}: scores`, scores, asked, drinks));
          said.push(`${name[0].toUpperCase()}${name.slice(1)}: ${answer.join(", ")}.`);
        }
        panel.table(tables);
        return said.join(" ");
      };
    },

    /** data: {sentences, head, W, beside}: computed A(x) of a head beside a learned W for sentences of W.length tokens, and
     * beside the A of one more sentence, which stays, if there is one. */
    networks(panel, data) {
      const head = withIndex(data.head), sentence = panel.sentence("Sentence", data.sentences);
      const fixed = data.beside ? tokenize(data.beside) : [];
      if (fixed.length) network(stage(panel, `A for “${data.beside}”`, 340, 180), headWeights(head, embed(head, fixed).X), "A", fixed, fixed, `Computed network of “${data.beside}”.`);
      const computed = stage(panel, fixed.length ? "A for the sentence above" : "computed A(x)", 340, 180), learned = stage(panel, "learned W", 340, 180);
      const size = Math.max(...data.W.flat().map(Math.abs));
      return () => {
        const tokens = tokenize(sentence.value), n = data.W.length;
        const { unknown, X } = embed(head, tokens.slice(0, head.places.length));
        if (!tokens.length || unknown.length || tokens.length > head.places.length) {
          for (const area of [computed, learned]) area.clear("nothing to draw", 30);
          panel.table([]);
          if (!tokens.length) return "Type a sentence.";
          if (unknown.length) return `Not in the vocabulary of this head: ${unknown.join(", ")}. It knows: ${head.vocabulary.join(" ")}`;
          return `This head has learned ${head.places.length} places; the sentence has ${tokens.length} tokens.`;
        }
        const A = headWeights(head, X), said = tokens.map((_, i) => strongest(A, tokens, i)).join("; ");
        network(computed, A, "A", tokens, tokens, `Computed network: ${said}.`);
        const tables = [matrixTable("Computed A: row reads from column", A, tokens, tokens)];
        if (tokens.length === n) {
          network(learned, data.W, "W", tokens, tokens, "Learned network: the same lines for every sentence.", size);
          tables.push(matrixTable("Learned W, the same for every sentence", data.W, tokens, tokens));
        } else {
          learned.clear("No network", 60);
          learned.put("text", { x: 10, y: 30 }, `W was learned for ${n} tokens; it has no weights for ${tokens.length}.`);
        }
        panel.table(tables);
        return `A has been written anew: ${said}. W ${tokens.length === n ? "has not moved" : `does not fit ${tokens.length} tokens`}.`;
      };
    },

    /** data: {tokens, points}: drag any token's arrow, and the network that the tokens write is drawn anew. */
    arrows(panel, data) {
      const tokens = data.tokens, X = data.points.map((p) => [...p]);
      const plane = stage(panel, "the words as arrows", 340, 250), area = stage(panel, "the network that they write", 340, 180);
      plane.to = (x, y) => [125 + 47 * x, 125 - 47 * y]; // room on the right for an arrow of twice the length
      plane.from = (px, py) => [(px - 125) / 47, (125 - py) / 47];
      const handles = X.map((_, i) => panel.handle(plane, `arrow of “${tokens[i]}”`, () => X[i], (x, y) => (X[i] = [x, y]), { limits: [[-2.2, 4.2], [-2.2, 2.2]] }));
      panel.button("Put the arrows back", () => { data.points.forEach((p, i) => (X[i] = [...p])); panel.host.redraw(); });
      return () => {
        const A = weights(X, X), said = tokens.map((_, i) => { const j = A[i].indexOf(Math.max(...A[i]));
          return `“${tokens[i]}” from ${i === j ? "itself" : `“${tokens[j]}”`}, ${number(A[i][j])}`; });
        plane.clear(`Arrows: ${tokens.map((t, i) => `${t} ${X[i].map((x) => number(x, 1)).join(", ")}`).join("; ")}.`);
        const [ox, oy] = plane.to(0, 0);
        X.forEach((p, i) => {
          const [x, y] = plane.to(...p), long = Math.hypot(x - ox, y - oy) || 1, [ux, uy] = [(x - ox) / long, (y - oy) / long];
          const far = x - ox > 140, [lx, ly] = far ? [0, -1] : beyond(x - ox, y - oy);
          plane.put("line", { class: "arrow", x1: ox, y1: oy, x2: x, y2: y });
          plane.put("path", { class: "node", d: `M${x} ${y}l${-9 * ux + 4 * uy} ${-9 * uy - 4 * ux}l${-8 * uy} ${8 * ux}z` });
          plane.put("text", { x: x + 19 * lx, y: y + 19 * ly + 4.5, "text-anchor": far ? "middle" : anchor(lx) }, tokens[i]);
        });
        handles.forEach((place) => place());
        network(area, A, "A", tokens, tokens, `Each word reads most: ${said.join("; ")}.`);
        panel.table([matrixTable("A: row reads from column", A, tokens, tokens),
          { caption: "The arrows", columns: ["across", "up"], rows: tokens.map((t, i) => [t, ...X[i]]) }]);
        return `Each word reads most: ${said.join("; ")}.`;
      };
    },

    /** data: {tokens, points, query, plain}: drag the query or a key; keys are the values. Plain: with no more controls. */
    drag(panel, data) {
      const keys = data.points.map((p) => [...p]), tokens = data.tokens;
      let query = [...data.query];
      const still = { value: 0 }, on = { value: true };
      const sharp = data.plain ? still : panel.slider("Temperature", { min: -2, max: 2, step: 0.1, value: 0, show: (x) => number(10 ** x, 2) });
      const width = data.plain ? still : panel.choice("Features d", ["2 (as drawn)", "4", "16", "64", "256", "1024"]);
      const factor = data.plain ? on : panel.toggle("Divide by √d", true);
      const plane = stage(panel, "query, keys, output", 340, 300), bars = stage(panel, "the row of A", 340, 180);
      plane.to = (x, y) => [170 + 62 * x, 150 - 62 * y];
      plane.from = (px, py) => [(px - 170) / 62, (150 - py) / 62];
      const handles = keys.map((_, j) => panel.handle(plane, `key “${tokens[j]}”`, () => keys[j], (x, y) => (keys[j] = [x, y])));
      handles.push(panel.handle(plane, "query", () => query, (x, y) => (query = [x, y])));
      return () => {
        const d = [2, 4, 16, 64, 256, 1024][width.value];
        // Independent features like these d times over 2: a dot product spreads sqrt(d / 2) times as far.
        const logits = keys.map((k) => dot(query, k) * Math.sqrt(d / 2) / (factor.value ? Math.sqrt(d) : 1) / 10 ** sharp.value);
        const row = softmax(logits), output = matmul([row], keys)[0];
        plane.clear(`Output at ${output.map((x) => number(x)).join(", ")}, inside the hull of the keys.`);
        plane.put("polygon", { class: "hull", points: hull(keys).map((p) => plane.to(...p).join(",")).join(" ") });
        const [ox, oy] = plane.to(0, 0);
        const arrow = (p, cls) => { const [x, y] = plane.to(...p); plane.put("line", { class: cls, x1: ox, y1: oy, x2: x, y2: y }); };
        keys.forEach((k, j) => {
          const [x, y] = plane.to(...k);
          arrow(k, "axis");
          plane.put("circle", { class: "share", cx: x, cy: y, r: 30 * Math.sqrt(row[j]), "fill-opacity": 0.35 });
          const [lx, ly] = beyond(x - ox, y - oy);
          const level = Math.abs(ly) < 0.2; // beside its point, it would stand in the circle
          plane.put("text", { x: level ? x : x + 24 * lx, y: level ? y + 34 : y + 24 * ly + 4.5, "text-anchor": "middle" }, tokens[j]);
        });
        arrow(query, "query");
        const [yx, yy] = plane.to(...output);
        plane.put("path", { class: "output", d: `M${yx} ${yy - 8}l8 8l-8 8l-8-8z` });
        const [qx, qy] = plane.to(...query);
        plane.put("text", { x: qx, y: qy - 15, "text-anchor": "middle", class: "strong" }, "query");
        handles.forEach((place) => place());
        bars.clear(`Weights: ${tokens.map((t, j) => `${t} ${number(row[j])}`).join(", ")}.`, 26 * tokens.length + 10);
        tokens.forEach((token, j) => {
          bars.put("text", { x: 70, y: 22 + 26 * j, "text-anchor": "end" }, token);
          bars.put("rect", { class: "A", x: 78, y: 8 + 26 * j, width: 200 * row[j], height: 18 });
          bars.put("text", { x: 84 + 200 * row[j], y: 22 + 26 * j }, number(row[j]));
        });
        panel.table([{ caption: "Keys", columns: ["across", "up", "logit", "weight"], rows: tokens.map((t, j) => [t, ...keys[j], logits[j], row[j]]) },
          { caption: "Query and output", columns: ["across", "up"], rows: [["query", ...query], ["output", ...output]] }]);
        const most = row.indexOf(Math.max(...row));
        return `The largest weight is ${number(row[most])}, on “${tokens[most]}”; the output is at ${number(output[0])}, ${number(output[1])}.`;
      };
    },

    /** data: {sentences, head}: weights from one sentence, values from another, of the same length. */
    transplant(panel, data) {
      const head = withIndex(data.head);
      const from = panel.choice("Weights from", data.sentences), of = panel.choice("Values from", data.sentences);
      of.value = 1;
      const area = stage(panel, "the network", 400, 180);
      return () => {
        const [donor, host] = [from, of].map((c) => tokenize(data.sentences[c.value]));
        const X = embed(head, host).X, A = headWeights(head, embed(head, donor).X), own = headWeights(head, X);
        const said = answers(head, A, X), before = answers(head, own, X);
        network(area, A, "A", host, said.map((word) => `→ ${word}`), `Network written by “${data.sentences[from.value]}”, applied to “${data.sentences[of.value]}”.`);
        panel.table([matrixTable(`A, computed from “${data.sentences[from.value]}”`, A, donor, donor),
          { caption: "What arrives at each token", columns: ["through this network", "through its own"], rows: host.map((t, i) => [t, said[i], before[i]]) }]);
        const changed = host.filter((_, i) => said[i] !== before[i]);
        if (from.value === of.value) return "A sentence in its own network.";
        return changed.length ? `Something else than in its own network arrives at: ${changed.join(", ")}.` : "The same words arrive as in its own network.";
      };
    },

    /** data: {steps, names, facts, W, A, B, right_static, right_attention}: two layers at moments of their training: W, one row
     * for all questions; A, a row for each name; B, the learned rule between names. */
    training(panel, data) {
      const at = panel.slider("Training step", { min: 0, max: data.steps.length - 1, step: 1, value: data.steps.length - 1, show: (i) => String(data.steps[i]) });
      const asked = data.A[0].map((_, i) => data.facts[i].split(" ")[0]), read = data.facts.concat("the question itself"), short = [...asked, "itself"];
      const B = stage(panel, "the learned rule: about whom × whose fact", 330, 300), A = stage(panel, "computed A: one row per question", 330, 190), W = stage(panel, "learned W: one row for all of them", 330, 110);
      const size = Math.max(...data.B.flat(2).map(Math.abs)), largest = Math.max(...data.W.flat().map(Math.abs));
      return () => {
        const t = at.value, row = [data.W[t]], about = asked.map((name) => `${name}?`);
        heat(B, data.B[t], "W", data.names, data.names, "Learned rule: name asked about against name in a fact", size);
        heat(A, data.A[t], "A", about, short, "Computed rows", 1);
        heat(W, row, "W", ["anyone?"], short, "Learned row", largest);
        panel.table([matrixTable("Learned rule: row, the name asked about; column, the name in a fact", data.B[t], data.names, data.names),
          matrixTable("Computed rows", data.A[t], about, read), matrixTable("Learned row, for all questions", row, ["anyone?"], read)]);
        return `Step ${data.steps[t]}: attention answers ${Math.round(100 * data.right_attention[t])}% of new questions rightly, the static layer ${Math.round(100 * data.right_static[t])}%.`;
      };
    },

    /** data: {questions: [{values, asked, rows, answers}], W, bias}: switch heads on and off. */
    heads(panel, data) {
      const H = data.W.length;
      const which = panel.choice("Question", data.questions.map((q) => `values of tokens ${q.asked[0] + 1} and ${q.asked[1] + 1}`));
      const on = data.W.map((_, h) => panel.toggle(`Head ${h + 1}`, true));
      const rows = stage(panel, "each head's row of A", 340, 40 + 34 * H), effective = stage(panel, "effective weight of each token", 340, 90), scores = stage(panel, "the two answers", 340, 110);
      return () => {
        const q = data.questions[which.value], n = q.rows[0].length;
        const columns = places(n).map((p, j) => (q.asked[0] === j ? "1st" : q.asked[1] === j ? "2nd" : p));
        heat(rows, q.rows.map((row, h) => row.map((w) => (on[h].value ? w : 0))), "A", data.W.map((_, h) => `head ${h + 1}`), columns, "Rows of A", 1);
        // Block j of the effective matrix: what token j contributes, sum over heads of A_h[j] W_h.
        const blocks = q.rows[0].map((_, j) => data.W.map((W, h) => times(W, on[h].value ? q.rows[h][j] : 0)).reduce(add));
        const out = blocks.map((M, j) => linear([q.values[j]], M)[0]).reduce((a, b) => a.map((x, i) => x + b[i]), data.bias);
        const norms = blocks.map((M) => Math.hypot(...M.flat()));
        heat(effective, [norms], "W", ["size"], columns, `Size of each token's block: ${norms.map((x) => number(x)).join(", ")}`);
        const two = [out.slice(0, out.length / 2), out.slice(out.length / 2)];
        const best = two.map((row) => row.indexOf(Math.max(...row)) + 1);
        heat(scores, two, "W", ["first", "second"], places(two[0].length), `Answers ${best.join(" and ")}`, 1);
        panel.table([matrixTable("Rows of A", q.rows, data.W.map((_, h) => `head ${h + 1}`), columns),
          matrixTable("Scores", two, ["first", "second"], places(two[0].length)), matrixTable("Size of each token's block", [norms], ["size"], columns)]);
        const right = best.every((b, i) => b === q.answers[i] + 1);
        const off = on.map((o, h) => (o.value ? 0 : h + 1)).filter(Boolean);
        return `${off.length ? `Without head ${off.join(", ")}` : "All heads on"}: answers ${best[0]} and ${best[1]}, ${right ? "both right" : `right would be ${q.answers[0] + 1} and ${q.answers[1] + 1}`}.`;
      };
    },

    /** data: {n, length}: n tokens on a circle, each of which wants to read from one; the rule writes the network of any order. */
    orders(panel, data) {
      const n = data.n, every = places(n).map((_, i) => i + 1).reduce((product, i) => product * i, 1), names = places(n);
      const at = panel.slider("Order", { min: 1, max: every, step: 1, value: data.start, show: (k) => `${k} of ${every}` });
      const wish = stage(panel, "what the sentence asks for", 300, 230), drawn = stage(panel, "the network that the rule writes", 340, 210);
      const on = (i, r) => { const angle = 2 * Math.PI * i / n; return [150 + r * Math.cos(angle), 115 - r * Math.sin(angle)]; };
      const stands = names.map((_, i) => [Math.cos(2 * Math.PI * i / n), Math.sin(2 * Math.PI * i / n)]);
      const order = (k) => { // the k-th order of 0 ... n - 1, counted from 0, in the order of a dictionary
        const left = names.map((_, i) => i), found = [];
        for (let m = n, block = every; m > 0; m--) { block /= m; found.push(left.splice(Math.floor(k / block), 1)[0]); k %= block; }
        return found;
      };
      return () => {
        const wants = order(at.value - 1), A = weights(wants.map((j) => times([stands[j]], data.length)[0]), stands);
        wish.clear(`Token by token, it should read from: ${wants.map((j) => names[j]).join(", ")}.`);
        wants.forEach((j, i) => {
          const [x1, y1] = on(i, 78), [x2, y2] = on(j, 78);
          if (i === j) return wish.put("circle", { class: "loop", cx: on(i, 64)[0], cy: on(i, 64)[1], r: 14 });
          const [bx, by] = on(j, 78), long = Math.hypot(x2 - x1, y2 - y1), [ux, uy] = [(x2 - x1) / long, (y2 - y1) / long];
          wish.put("line", { class: "arrow", x1, y1, x2: x2 - 8 * ux, y2: y2 - 8 * uy });
          wish.put("path", { class: "node", d: `M${bx - 5 * ux} ${by - 5 * uy}l${-9 * ux + 4 * uy} ${-9 * uy - 4 * ux}l${-8 * uy} ${8 * ux}z` });
        });
        names.forEach((name, i) => {
          const [x, y] = on(i, 78), [tx, ty] = on(i, 100);
          wish.put("circle", { class: "node", cx: x, cy: y, r: 4 });
          wish.put("text", { x: tx, y: ty + 5, "text-anchor": "middle" }, name);
        });
        network(drawn, A, "A", names, names, `Network of order ${at.value}.`);
        const least = Math.min(...wants.map((j, i) => A[i][j]));
        panel.table([matrixTable("A: row reads from column", A, names, names), { caption: "Asked for", columns: ["reads from"], rows: wants.map((j, i) => [names[i], names[j]]) }]);
        return `Order ${at.value} of ${every}: every token reads at least ${number(least, 3)} from the one it wants. The rule has not changed.`;
      };
    },

    /** data: {}: one output that should get 1 from itself and w from the token before; the nearest that each set of parts allows. */
    sign(panel, data) {
      const at = panel.slider("Wanted weight on the word before", { min: -1, max: 1, step: 0.05, value: -1, show: (w) => number(w) });
      const parts = panel.radios("Around the softmax", ["nothing", "a residual", "a residual and W_V"], 0);
      const names = ["word before", "itself"], wanted = stage(panel, "wanted", 300, 100), found = stage(panel, "the nearest that can be had", 300, 100), bars = stage(panel, "what is missed, squared", 300, 60);
      const clip = (a) => Math.min(1, Math.max(0, a));
      return () => {
        const w = at.value, part = parts.value, a = part === 0 ? clip(w / 2) : clip((w + 1) / 2); // what the softmax gives to the word before
        const row = part === 0 ? [a, 1 - a] : part === 1 ? [a, 2 - a] : [w, 1], missed = (row[0] - w) ** 2 + (row[1] - 1) ** 2;
        network(wanted, [[w, 1]], "W", names, ["output"], `Wanted: ${number(w)} from the word before, 1 from itself.`, 2);
        network(found, [row], "A", names, ["output"], `Reached: ${number(row[0])} from the word before, ${number(row[1])} from itself.`, 2);
        bars.clear(`Missed: ${number(missed)}.`);
        bars.put("rect", { class: "A", x: 70, y: 20, width: 70 * missed, height: 20 });
        bars.put("text", { x: 78 + 70 * missed, y: 35 }, number(missed));
        panel.table([{ caption: "Weights", columns: names, rows: [["wanted", w, 1], ["reached", ...row]] }, { caption: "Missed", columns: ["squared"], rows: [["both", missed]] }]);
        return `Wanted ${number(w)} and 1, reached ${number(row[0])} and ${number(row[1])}, missed ${number(missed)}.`;
      };
    },

    /** data: {sizes, ticks, splits, basis, inputs: [{name, A}], curves: [{name, missed}]}: K stored weights, used in three ways. */
    bank(panel, data) {
      const n = data.inputs[0].A.length, axes = places(n), ways = data.curves.map((c) => c.name), side = 240;
      const at = panel.slider("Stored K", { min: 0, max: data.sizes.length - 1, step: 1, value: 3, show: (k) => String(data.sizes[k]) });
      const which = panel.choice("Example", data.inputs.map((input) => input.name));
      const titles = ["computed A", ...ways].map((title) => stage(panel, title, side, 164));
      const chart = stage(panel, "error that is left over all sharp matrices, by K", 500, 190);
      const x = (K) => 40 + 290 * Math.log(K) / Math.log(data.sizes.at(-1)), y = (share) => 150 - 130 * share;
      return () => {
        const K = data.sizes[at.value], A = data.inputs[which.value].A, rows = groupRows(n, Math.min(K, n));
        const used = [nearest(wholeBank(data.splits[at.value]), A), A.map((row) => nearest(rows.map((r) => [r]), [row])[0]), addedUp(data.basis.slice(0, K), A)];
        const off = used.map((M) => distance(A, M)), told = ways.map((way, w) => `${way}: ${number(off[w], 3)}`).join("; ");
        [A, ...used].forEach((M, w) => heat(titles[w], M, w ? "W" : "A", axes, axes, w ? `${ways[w - 1]}, squared error ${number(off[w - 1], 3)}` : "Computed matrix", 1));
        chart.clear(`With ${K} stored, the error that is left over all sharp matrices is ${data.curves.map((c) => `${number(c.missed[at.value])} (${c.name})`).join(", ")}.`);
        chart.put("path", { class: "axis", fill: "none", d: `M40 ${y(1)}V${y(0)}H330` });
        for (const share of [0, 1]) chart.put("text", { x: 32, y: y(share) + 4, "text-anchor": "end" }, String(share));
        for (const size of data.ticks) chart.put("text", { x: x(size), y: 168, "text-anchor": "middle" }, String(size));
        chart.put("line", { class: "axis", x1: x(K), x2: x(K), y1: y(1.05), y2: y(0) });
        data.curves.forEach((c, w) => {
          chart.put("path", { class: "curve", "stroke-dasharray": ["none", "7 4", "2 4"][w], d: c.missed.map((m, k) => `${k ? "L" : "M"}${x(data.sizes[k])} ${y(m)}`).join("") });
          chart.put("circle", { class: "share", cx: x(K), cy: y(c.missed[at.value]), r: 4 });
          chart.put("path", { class: "curve", "stroke-dasharray": ["none", "7 4", "2 4"][w], d: `M345 ${30 + 24 * w}h30` });
          chart.put("text", { x: 382, y: 34 + 24 * w }, c.name);
        });
        panel.table([matrixTable("Computed A", A, axes, axes), ...used.map((M, w) => matrixTable(`${ways[w]}, K = ${K}`, M, axes, axes)),
          { caption: `K = ${K}`, columns: ["squared error here", "error that is left, all sharp matrices"], rows: ways.map((way, w) => [way, off[w], data.curves[w].missed[at.value]]) }]);
        return `K = ${K}. Squared error for this matrix: ${told}.`;
      };
    },
    /** data: {p, layers: [{name, kind}], right, best, needed, matrices: [{name, kind, M}]}: layers trained at each share p. */
    dial(panel, data) {
      const at = panel.slider("Fraction p who must look", { min: 0, max: data.p.length - 1, step: 1, value: data.p.length >> 1, show: (k) => String(data.p[k]) });
      const axes = places(data.needed[0].length), names = data.layers.map((layer) => layer.name), step = 21, left = 148, full = 150;
      const bars = stage(panel, "accuracy on new examples", 340, step * names.length + 30);
      const areas = [{ name: "what one example asks for", kind: "A", M: data.needed }, ...data.matrices].map((m) => ({ ...m, area: stage(panel, m.name, 290, 236) }));
      return () => {
        const k = at.value, right = data.right[k], edge = left + full * data.best[k], low = step * names.length + 4;
        bars.clear(`Accuracies: ${names.map((name, l) => `${name} ${number(right[l])}`).join(", ")}.`);
        data.layers.forEach(({ name, kind }, l) => {
          bars.put("text", { x: left - 8, y: step * l + 15, "text-anchor": "end" }, name);
          bars.put("rect", { class: kind || "node", x: left, y: step * l + 3, width: full * right[l], height: step - 6 });
          bars.put("text", { x: left + full + 8, y: step * l + 15 }, number(right[l]));
        });
        bars.put("line", { class: "frame", x1: edge, x2: edge, y1: 0, y2: low });
        bars.put("text", { x: left + full, y: low + 16, "text-anchor": "end" }, `best without comparing: ${number(data.best[k])}`);
        for (const { area, name, kind, M } of areas) heat(area, M[k], kind, axes, null, `${name}, p = ${data.p[k]}`, 1);
        panel.table([{ caption: "Accuracy, by p", columns: data.p.map((p) => `p = ${p}`), rows: names.map((name, l) => [name, ...data.right.map((of) => of[l])]) },
          ...areas.map(({ name, M }) => matrixTable(`${name}, p = ${data.p[k]}`, M[k], axes, axes))]);
        return `p = ${data.p[k]}: ${data.matrices.map(({ name }) => `${name} ${number(right[names.indexOf(name)])}`).join("; ")}; the best without comparing is ${number(data.best[k])}.`;
      };
    },

    /** data: {letters, texts: [{text, language, built}]}: what a network expects after each letter, built[m - 1] having read m. */
    reader(panel, data) {
      const letters = [...data.letters], names = letters.flatMap((a) => letters.map((b) => `${a} → ${b}`));
      const which = panel.choice("Language", places(data.texts.length)), most = data.texts[0].built.length;
      const at = panel.slider("Letters read", { min: 1, max: most, step: 1, value: most });
      const strip = element("p", { class: "whole before" });
      panel.stages.append(strip);
      const step = 23, left = 58, full = 170, y = (k) => step * k + 12 * Math.floor(k / letters.length);
      const chart = stage(panel, "how often a letter comes after a letter", 340, y(names.length));
      return () => {
        const { text, language, built } = data.texts[which.value], m = at.value, read = [...text].slice(0, m);
        const counts = letters.map((a) => { // a letter's row: what has followed it, if it is the next one of the text
          const all = [...read, a];
          return letters.map((b) => all.filter((letter, i) => i && letter === b && all[i - 1] === a).length);
        });
        const best = counts.map((row) => row.map((c) => (c + 1) / (row.reduce((sum, x) => sum + x) + letters.length)));
        const off = (M) => built[m - 1].flatMap((row, a) => row.map((p, b) => Math.abs(p - M[a][b]))).reduce((sum, x) => sum + x) / names.length;
        const parts = [built[m - 1], best, language].map((M) => M.flat()), seen = counts.map((row) => row.reduce((sum, x) => sum + x));
        strip.replaceChildren(element("strong", {}, read.join("")), element("span", { class: "later" }, text.slice(m)));
        const [network, guess, own] = parts.map((of) => number(of[0]));
        chart.clear(`${names.length} pairs of letters, a bar for the network, a line for the best guess, a ring for the language; `
          + `${names[0]}: network ${network}, best guess ${guess}, language ${own}; all are in the table of the numbers`);
        names.forEach((name, k) => {
          const [bar, line, ring] = parts.map((of) => left + full * of[k]), top = y(k);
          chart.put("text", { x: left - 8, y: top + 16, "text-anchor": "end" }, name);
          chart.put("rect", { class: "A", x: left, y: top + 3, width: bar - left, height: step - 6, "fill-opacity": 0.75 });
          chart.put("line", { class: "mark", x1: line, x2: line, y1: top, y2: top + step });
          chart.put("circle", { class: "loop", cx: ring, cy: top + step / 2, r: 5 });
          chart.put("text", { x: left + full + 12, y: top + 16 }, `${counts.flat()[k]} of ${seen[Math.floor(k / letters.length)]} times`);
        });
        panel.table([{ caption: `After ${m} letters`, columns: ["network", "best guess", "language"], rows: names.map((name, k) => [name, ...parts.map((of) => of[k])]) }]);
        return `After ${m} ${m > 1 ? "letters" : "letter"} the network is ${number(off(best))} from the best guess and ${number(off(language))} from the language, on average over the nine.`;
      };
    },

    /** data: {text} and the layout of a GPT, with its parameters as payload: it reads and writes what is typed. */
    gpt(panel, data) {
      const net = unpack(data, Uint8Array.from(atob(data.payload), (c) => c.charCodeAt(0))), { n_layers: L, n_heads: H } = net;
      const typed = panel.text("Text", data.text), quoted = (c) => `“${visible(c)}”`;
      typed.input.maxLength = 2000;
      typed.input.parentNode.classList.add("wide");
      let rows = [], cell = null; // [row, column] once the reader has pointed at one
      const look = () => { const found = characters(net, typed.value); rows = read(net, found.ids, rows); return found; };
      const add = (pick) => () => {
        look();
        if (!rows.length) return;
        typed.value += net.vocabulary[pick(softmax(rows.at(-1).logits))];
        typed.input.scrollLeft = typed.input.scrollWidth;
        cell = null;
        panel.host.redraw();
      };
      typed.input.addEventListener("input", () => { cell = null; });
      panel.button("Add the likeliest next character", add(largest));
      panel.button("Draw the next one by chance", add((p) => { let left = Math.random(); return Math.max(0, p.findIndex((x) => (left -= x) < 0)); }));
      panel.controls.after(panel.status);
      const maps = Array.from({ length: L * H }, () => element("canvas")), name = (k) => `Layer ${Math.floor(k / H) + 1}, head ${k % H + 1}`;
      const which = panel.radios("A of every layer and head: choose one", maps);
      which.set.classList.add("maps");
      which.set.style.gridTemplateColumns = `auto repeat(${H}, minmax(0, 5rem))`;
      which.inputs.forEach((input, k) => input.setAttribute("aria-label", name(k)));
      which.labels[0].before("", element("span"), ...maps.slice(0, H).map((_, h) => element("span", {}, `head ${h + 1}`)));
      for (let l = 0; l < L; l++) which.labels[l * H].before(element("span", {}, `layer ${l + 1}`));
      panel.stages.append(element("div", { class: "stage" }, which.set));
      const next = stage(panel, "the likeliest next characters", 300, 120);
      const said = element("p"), strip = element("div", { class: "strip", role: "img" });
      panel.stages.append(element("div", { class: "stage whole" }, said, strip));
      const big = stage(panel, "the chosen A: a row takes from its columns (shade: root of the weight)", 470, 470), x = 22, y = 20;
      const picture = element("canvas"), layers = element("div", { class: "layers" }, picture);
      big.svg.replaceWith(layers);
      layers.append(big.svg);
      const cursor = element("rect", { class: "cursor", tabindex: "0", role: "slider", "aria-label": "cell of the chosen A", "aria-valuemin": 0, "aria-valuemax": 1 });
      big.handles.append(cursor);
      const choose = (i, j) => {
        i = Math.max(0, Math.min(rows.length - 1, i));
        cell = [i, Math.max(0, Math.min(i, j))];
        panel.host.redraw();
      };
      const point = (event) => {
        const box = big.svg.getBoundingClientRect(), unit = big.width / box.width;
        const [i, j] = [(event.clientY - box.top) * unit - y, (event.clientX - box.left) * unit - x].map((v) => Math.floor(v / big.cell));
        if (j >= 0 && j <= i && i < rows.length) choose(i, j);
      };
      for (const kind of ["pointermove", "pointerdown"]) big.svg.addEventListener(kind, point);
      cursor.addEventListener("keydown", (event) => {
        const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
        if (!by) return;
        event.preventDefault();
        choose(big.at[0] + by[0], big.at[1] + by[1]);
      });
      return () => {
        const { length, unknown } = look(), n = rows.length, notes = [];
        if (unknown.length) notes.push(`Not in its vocabulary, and not used: ${unknown.map(quoted).join(", ")}.`);
        if (length > n) notes.push(`Of ${length} characters it looks at the last ${n}.`);
        panel.stages.hidden = !n;
        if (!n) {
          panel.tableWhenOpen(() => []);
          return [...notes, "Type a text."].join(" ");
        }
        const colour = COMPUTED[panel.host.hasAttribute("dark") ? "dark" : "light"], letters = rows.map((row) => visible(net.vocabulary[row.id]));
        const chosen = which.value, of = (k) => rows.map((row) => row.A[Math.floor(k / H)][k % H]), A = of(chosen);
        maps.forEach((canvas, k) => paint(canvas, of(k), colour));
        const [i, j] = big.at = cell || [n - 1, largest(A[n - 1])];
        const unit = big.cell = Math.min(24, (big.width - x - 2) / n), height = y + unit * n + 2;
        big.clear(`${name(chosen)}: ${n} rows, one for each character; a row takes from the characters up to its own.`, height);
        lettered(big, x, y, unit, letters, big.at);
        paint(picture, A, colour);
        Object.assign(picture.style, { left: `${100 * x / big.width}%`, top: `${100 * y / height}%`, width: `${100 * unit * n / big.width}%`, height: `${100 * unit * n / height}%` });
        for (const [key, value] of Object.entries({ x: x + j * unit, y: y + i * unit, width: unit, height: unit, "aria-valuenow": number(A[i][j], 3) })) cursor.setAttribute(key, value);
        said.textContent = `“${letters[i]}” (${i + 1}) takes ${number(A[i][j], 3)} from “${letters[j]}” (${j + 1})`;
        cursor.setAttribute("aria-valuetext", said.textContent);
        strip.setAttribute("aria-label", `What character ${i + 1} takes: most, ${number(Math.max(...A[i]))}, from “${letters[largest(A[i])]}”.`);
        strip.replaceChildren(...letters.map((letter, k) => element("span", { class: k > i ? "later" : k === i || k === j ? "strong" : "", style: `--a:${Math.sqrt(A[i][k] || 0).toFixed(4)}` }, letter)));
        const p = softmax(rows[n - 1].logits), best = [...p.keys()].sort((a, b) => p[b] - p[a]).slice(0, 5);
        const likeliest = best.map((k) => [quoted(net.vocabulary[k]), p[k]]);
        bars(next, `Likeliest next: ${likeliest.map(([c, of]) => `${c} ${number(of)}`).join(", ")}.`, likeliest, 1, 40);
        panel.tableWhenOpen(() => [matrixTable(`Computed A, ${name(chosen)}: row takes from column`, A.map((row) => letters.map((_, k) => row[k] ?? "")), letters, letters),
          { caption: "Likeliest next characters", columns: ["probability"], rows: likeliest }]);
        return [...notes, `The likeliest next character is ${likeliest[0][0]}, ${number(likeliest[0][1])}.`].join(" ");
      };
    },

    /** data: {tokens, languages, contexts, weights, mean, first}: the weights among the same tokens, after texts in several languages. */
    switch(panel, data) {
      const { languages, mean } = data, letters = data.tokens.map(visible), H = mean[0][0].length;
      const which = panel.radios("Language of the text before", languages, data.first);
      const text = panel.choice("Text", []), layer = panel.choice("Layer", places(mean[0].length));
      layer.value = mean[0].length - 1;
      const before = element("p", { class: "whole before" });
      panel.stages.append(before);
      const chart = stage(panel, "distance to each language's mean", 340, 100);
      const stages = element("div", { class: "stages whole" });
      panel.stages.append(stages);
      const areas = mean[0][0].map((_, h) => stage({ stages }, `head ${h + 1}`, 340, 180)), side = 146, x = [22, 192], cell = side / letters.length;
      // One scale for a layer, whatever is chosen.
      const limits = mean[0].map((_, l) => ({
        weight: Math.max(...[...mean, ...data.weights.flat()].map((of) => of[l]).flat(3)),
        distance: Math.max(...data.weights.flat().flatMap((of) => mean.map((m) => apart(of[l], m[l])))),
      }));
      return () => {
        const at = which.value, l = layer.value, texts = data.contexts[at];
        const t = Math.min(text.value, texts.length - 1), A = data.weights[at][t][l], limit = limits[l];
        text.input.replaceChildren(...texts.map((_, k) => element("option", { value: k }, String(k + 1))));
        text.value = t;
        before.replaceChildren(texts[t], element("strong", {}, data.tokens.join("")));
        const distances = mean.map((of) => apart(A, of[l])), order = [...distances.keys()].sort((a, b) => distances[a] - distances[b]);
        const same = limit.distance < 5e-4;
        bars(chart, `Distances: ${languages.map((name, k) => `${name} ${number(distances[k], 3)}`).join(", ")}.`,
          languages.map((name, k) => [name, distances[k], k === order[0] && !same ? "nearest" : "", k === at]), Math.max(limit.distance, 5e-4));
        areas.forEach((area, h) => {
          area.clear(`Head ${h + 1}: ${languages[0]}, mean, beside ${languages[at]}, this text.`, 42 + side);
          [[mean[0][l][h], `${languages[0]}, mean`], [A[h], `${languages[at]}, text ${t + 1}`]].forEach(([M, title], side) => {
            area.put("text", { x: x[side], y: 13 }, title);
            M.forEach((row, i) => row.forEach((a, j) => {
              if (a) area.put("rect", { class: "A", x: x[side] + j * cell, y: 38 + i * cell, width: cell, height: cell, "fill-opacity": a / limit.weight });
            }));
            lettered(area, x[side], 38, cell, letters);
          });
        });
        panel.table([{ caption: "Distance to each mean", columns: ["distance"], rows: languages.map((name, k) => [name, distances[k]]) },
          ...A.map((M, h) => matrixTable(`Head ${h + 1} after this text in ${languages[at]}`, M, letters, letters)),
          ...mean[0][l].map((M, h) => matrixTable(`Head ${h + 1}, mean of ${languages[0]}`, M, letters, letters))]);
        if (same) return `Layer ${l + 1} writes the same weights after every text: all distances are ${number(0, 3)}.`;
        return `Layer ${l + 1}, after ${languages[at]}: nearest to the mean of ${languages[order[0]]}, ${number(distances[order[0]], 3)}${
          order.length > 1 ? `; then ${languages[order[1]]}, ${number(distances[order[1]], 3)}` : ""}.`;
      };
    },
  };

  /** The corners of the convex hull, in order (Andrew's monotone chain). */
  function hull(points) {
    const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    const half = (list) => list.reduce((chain, p) => {
      const turn = (a, b) => (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]);
      while (chain.length > 1 && turn(chain[chain.length - 2], chain[chain.length - 1]) <= 0) chain.pop();
      return [...chain, p];
    }, []);
    return [...half(sorted).slice(0, -1), ...half(sorted.reverse()).slice(0, -1)];
  }

  const STYLE = `
    :host{display:block;max-width:46rem;margin:1rem 0;font:14px/1.45 system-ui,sans-serif;color:inherit;
      --W:#0072b2;--negative:#8a5a00;--A:rgb(${COMPUTED.light});--rule:#8886}
    :host([dark]){--W:#56b4e9;--negative:#d9b777;--A:rgb(${COMPUTED.dark})}
    [hidden]{display:none!important}
    .controls{display:flex;flex-wrap:wrap;gap:.5rem 1.2rem;margin-bottom:.6rem}
    .field{display:flex;align-items:center;gap:.5rem;max-width:100%;flex-wrap:wrap}
    select,input,button{font:inherit;color:inherit;background:transparent;max-width:100%;accent-color:var(--A)}
    select,button,input[type=text]{border:1px solid;border-radius:3px;padding:.15rem .3rem} button{padding:.15rem .6rem;cursor:pointer}
    .wide{flex:1 1 100%} .wide input{flex:1 1 12rem;min-width:0}
    fieldset{border:0;padding:0;margin:0;min-width:0;display:flex;flex-wrap:wrap;gap:.3rem .9rem} legend{padding:0;float:left}
    fieldset label{display:flex;align-items:center;gap:.3rem}
    option{color:#111;background:#fff} input[type=text]{width:16rem} input[type=checkbox]{width:1.2rem;height:1.2rem}
    :focus-visible{outline:2px solid var(--A);outline-offset:2px}
    .stages{display:flex;flex-wrap:wrap;gap:.6rem 1rem}
    .stage{flex:1 1 260px;min-width:0} .stage p{font-weight:600;margin:0 0 .2rem}
    svg{width:100%;height:auto;display:block;overflow:visible} text{fill:currentColor;font:13px system-ui,sans-serif}
    .strong{font-weight:600} line.A,line.W{fill:none;stroke-linecap:round} line.A{stroke:var(--A)} line.W{stroke:var(--W)}
    rect.A{fill:var(--A)} rect.W{fill:var(--W)} rect.negative{fill:var(--negative)} .frame{fill:none;stroke:currentColor}
    .curve{fill:none;stroke:var(--W);stroke-width:2} .mark{stroke:currentColor;stroke-width:2.5}
    .node{fill:currentColor} .axis{stroke:currentColor;stroke-opacity:.45} .arrow{stroke:currentColor;stroke-width:1.8} .loop{fill:none;stroke:currentColor;stroke-width:1.8} .query{stroke:var(--A);stroke-width:2.5}
    .hull{fill:var(--A);fill-opacity:.1;stroke:var(--A);stroke-opacity:.5} .share,.output{fill:var(--A)}
    .handle{fill:currentColor;fill-opacity:.15;stroke:currentColor;cursor:grab}
    .maps{display:grid;gap:4px;align-items:center} .maps legend{float:none;font-weight:600;margin-bottom:.2rem} .maps span{font-size:13px}
    .maps label{position:relative;display:block;cursor:pointer} .maps input{position:absolute;opacity:0;inset:0;width:100%;height:100%;margin:0;cursor:pointer}
    canvas{display:block;width:100%;aspect-ratio:1;image-rendering:pixelated} .maps canvas{outline:1px solid var(--rule)}
    .maps :checked+canvas{outline:2px solid currentColor} .maps :focus-visible+canvas{outline:3px solid var(--A)}
    .layers{position:relative} .layers canvas{position:absolute;aspect-ratio:auto} .layers svg{position:relative}
    .cursor{fill:none;stroke:currentColor;stroke-width:1.5;pointer-events:none}
    .strip{display:flex;flex-wrap:wrap} .strip span{padding-bottom:2.6em;min-width:.75em;text-align:center;
      background:linear-gradient(var(--A) 0 0) 0 1.5em/100% calc(var(--a)*2.4em) no-repeat} .later{opacity:.65}
    .whole{flex:1 1 100%} .before{margin:0;overflow-wrap:anywhere} .strip .strong,.before strong{font-weight:700}
    .status{min-height:1.45em;margin:.5rem 0;overflow-wrap:anywhere} .numbers{max-width:100%;overflow-x:auto}
    table{border-collapse:collapse;margin:.5rem 0;font-variant-numeric:tabular-nums} caption{text-align:left;font-weight:600}
    th,td{padding:.1rem .6rem .1rem 0;text-align:right;font-weight:400;border-bottom:1px solid var(--rule)} summary{cursor:pointer}
    @media (pointer:coarse){select,button,input,label,summary{min-height:44px;box-sizing:border-box} select,button{min-width:44px} .field label{display:flex;align-items:center}
      fieldset label{padding-inline:.4rem}
      summary{padding-block:11px} .handle{r:22px}}`;

  class LiveFigure extends (globalThis.HTMLElement || class {}) {
    connectedCallback() {
      if (!this.shadowRoot) this.start(); // not when moved within the page
      const follow = () => {
        const dark = isLight(getComputedStyle(this).color);
        if (dark !== this.hasAttribute("dark") && this.toggleAttribute("dark", dark) === dark && this.draw) this.redraw();
      };
      this.watcher = new MutationObserver(follow);
      for (const node of [document.documentElement, document.body]) this.watcher.observe(node, { attributes: true });
      follow();
    }

    disconnectedCallback() {
      this.watcher?.disconnect();
    }

    /** Build the figure; the still picture is hidden last, so that it stays if anything fails. */
    start() {
      const root = element("div"), data = JSON.parse(this.getAttribute("data")), file = this.getAttribute("payload-file");
      this.panel = new Panel(this, root);
      const begin = (payload) => {
        const draw = kinds[this.getAttribute("kind")](this.panel, { ...data, payload });
        this.panel.status.textContent = draw();
        this.draw = draw;
      };
      if (file) this.panel.offer(file, this.getAttribute("payload-size"), begin);
      else begin(this.getAttribute("payload"));
      // The notebook's own shortcuts must not fire while somebody types here.
      root.addEventListener("keydown", (event) => event.stopPropagation());
      this.attachShadow({ mode: "open" }).append(element("style", {}, STYLE), root);
    }

    /** Draw once in the next frame, however many inputs have come, and say what changed when they pause. */
    redraw() {
      this.pending ||= requestAnimationFrame(() => {
        this.pending = 0;
        const said = this.draw();
        clearTimeout(this.speaking);
        this.speaking = setTimeout(() => { if (this.panel.status.textContent !== said) this.panel.status.textContent = said; }, 150);
      });
    }
  }

  const isLight = (colour) => { const [r, g, b] = colour.match(/[\d.]+/g).map(Number); return 0.3 * r + 0.59 * g + 0.11 * b > 128; };

  if (globalThis.customElements && !customElements.get("dynattn-live")) customElements.define("dynattn-live", LiveFigure);
  if (typeof module === "object") module.exports = { add, addedUp, answers, apart, characters, distance, dot, embed, erf, groupRows, headWeights, hull, linear, matmul, nearest, read, softmax, times, tokenize, transpose, unpack, weights, wholeBank, withIndex };
})();
