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
      const details = element("details", {}, element("summary", {}, "The numbers"), this.numbers);
      root.append(this.controls, this.stages, this.status, details);
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
    handle(area, label, place, move, { step = 0.1, limit = 2.6 } = {}) {
      const node = element("circle", { class: "handle", r: 11, tabindex: "0", role: "slider", "aria-label": label,
        "aria-valuemin": -limit, "aria-valuemax": limit });
      area.handles.append(node);
      const set = (...to) => { move(...to.map((v) => Math.max(-limit, Math.min(limit, v)))); this.host.redraw(); };
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
  const strongest = (A, tokens, i) => { const j = A[i].indexOf(Math.max(...A[i])); return `“${tokens[i]}” takes ${number(A[i][j])} from “${tokens[j]}”`; };

  const kinds = {
    /** data: {sentences, head, W}: computed A(x) of a trained head beside a learned W for sentences of W.length tokens. */
    networks(panel, data) {
      const head = withIndex(data.head), sentence = panel.sentence("Sentence", data.sentences);
      const computed = stage(panel, "computed A(x)", 340, 180), learned = stage(panel, "learned W", 340, 180);
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
        const tables = [matrixTable("Computed A: row takes from column", A, tokens, tokens)];
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

    /** data: {tokens, points}: drag the query or a key; keys are the values. */
    drag(panel, data) {
      const keys = data.points.map((p) => [...p]), tokens = data.tokens;
      let query = [...data.query];
      const sharp = panel.slider("Temperature", { min: -2, max: 2, step: 0.1, value: 0, show: (x) => number(10 ** x, 2) });
      const width = panel.choice("Features d", ["2 (as drawn)", "4", "16", "64", "256", "1024"]);
      const factor = panel.toggle("Divide by √d", true);
      const plane = stage(panel, "queries, keys, output", 340, 300), bars = stage(panel, "the row of A", 340, 180);
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
          plane.put("circle", { class: "share", cx: x, cy: y, r: 4 + 16 * Math.sqrt(row[j]), "fill-opacity": 0.35 });
          plane.put("text", { x, y: y - 15, "text-anchor": "middle" }, tokens[j]);
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

    /** data: {steps, W, A, B, loss_static, loss_attention, targets}: a record of two trainings on the same data. */
    training(panel, data) {
      const at = panel.slider("Training step", { min: 0, max: data.steps.length - 1, step: 1, value: data.steps.length - 1, show: (i) => String(data.steps[i]) });
      const which = panel.choice("Sentence", data.A[0].map((_, s) => `sentence ${s + 1}`));
      const W = stage(panel, "learned W, for every sentence", 300, 280), B = stage(panel, "the learned rule B", 300, 280);
      const A = stage(panel, "computed A, for this sentence", 300, 280), want = stage(panel, "what this sentence asks for", 300, 280);
      return () => {
        const t = at.value, s = which.value, axes = places(data.W[0].length);
        heat(W, data.W[t], "W", axes, null, "Learned static matrix", 1);
        heat(B, data.B[t], "W", null, null, "Learned rule: the wanted name against the name, feature by feature");
        heat(A, data.A[t][s], "A", axes, null, "Computed matrix", 1);
        heat(want, data.targets[s], "A", axes, null, "Wanted routing", 1);
        panel.table([matrixTable("Learned W", data.W[t], axes, axes), matrixTable("Learned rule B", data.B[t], places(data.B[t].length), places(data.B[t][0].length)),
          matrixTable("Computed A", data.A[t][s], axes, axes), matrixTable("Wanted routing", data.targets[s], axes, axes)]);
        return `Step ${data.steps[t]}: static error ${number(data.loss_static[t])}, attention's error ${number(data.loss_attention[t])}.`;
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

    /** data: {sizes, ticks, splits, basis, inputs: [{name, A}], curves: [{name, missed}]}: K stored weights, used in three ways. */
    bank(panel, data) {
      const n = data.inputs[0].A.length, axes = places(n), ways = data.curves.map((c) => c.name), side = 240;
      const at = panel.slider("Stored K", { min: 0, max: data.sizes.length - 1, step: 1, value: 3, show: (k) => String(data.sizes[k]) });
      const which = panel.choice("Sentence", data.inputs.map((input) => input.name));
      const titles = ["computed A", ...ways].map((title) => stage(panel, title, side, 164));
      const chart = stage(panel, "missed share, all routings, by K", 500, 190);
      const x = (K) => 40 + 290 * Math.log(K) / Math.log(data.sizes.at(-1)), y = (share) => 150 - 130 * share;
      return () => {
        const K = data.sizes[at.value], A = data.inputs[which.value].A, rows = groupRows(n, Math.min(K, n));
        const used = [nearest(wholeBank(data.splits[at.value]), A), A.map((row) => nearest(rows.map((r) => [r]), [row])[0]), addedUp(data.basis.slice(0, K), A)];
        const off = used.map((M) => distance(A, M)), told = ways.map((way, w) => `${way}: ${number(off[w], 3)}`).join("; ");
        [A, ...used].forEach((M, w) => heat(titles[w], M, w ? "W" : "A", axes, axes, w ? `${ways[w - 1]}, squared error ${number(off[w - 1], 3)}` : "Computed matrix", 1));
        chart.clear(`With ${K} stored, the missed share over all routings is ${data.curves.map((c) => `${number(c.missed[at.value])} (${c.name})`).join(", ")}.`);
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
          { caption: `K = ${K}`, columns: ["squared error here", "missed share, all routings"], rows: ways.map((way, w) => [way, off[w], data.curves[w].missed[at.value]]) }]);
        return `K = ${K}. Squared error for this matrix: ${told}.`;
      };
    },
    /** data: {p, layers: [{name, kind}], right, best, needed, matrices: [{name, kind, M}]}: layers trained at each share p. */
    dial(panel, data) {
      const at = panel.slider("Share p of tokens that look", { min: 0, max: data.p.length - 1, step: 1, value: data.p.length >> 1, show: (k) => String(data.p[k]) });
      const axes = places(data.needed[0].length), names = data.layers.map((layer) => layer.name), step = 21, left = 148, full = 150;
      const bars = stage(panel, "right answers in new sentences", 340, step * names.length + 30);
      const areas = [{ name: "what this sentence asks for", kind: "A", M: data.needed }, ...data.matrices].map((m) => ({ ...m, area: stage(panel, m.name, 290, 236) }));
      return () => {
        const k = at.value, right = data.right[k], edge = left + full * data.best[k], low = step * names.length + 4;
        bars.clear(`Right answers: ${names.map((name, l) => `${name} ${number(right[l])}`).join(", ")}.`);
        data.layers.forEach(({ name, kind }, l) => {
          bars.put("text", { x: left - 8, y: step * l + 15, "text-anchor": "end" }, name);
          bars.put("rect", { class: kind || "node", x: left, y: step * l + 3, width: full * right[l], height: step - 6 });
          bars.put("text", { x: left + full + 8, y: step * l + 15 }, number(right[l]));
        });
        bars.put("line", { class: "frame", x1: edge, x2: edge, y1: 0, y2: low });
        bars.put("text", { x: left + full, y: low + 16, "text-anchor": "end" }, `best without comparing: ${number(data.best[k])}`);
        for (const { area, name, kind, M } of areas) heat(area, M[k], kind, axes, null, `${name}, p = ${data.p[k]}`, 1);
        panel.table([{ caption: "Right answers, by p", columns: data.p.map((p) => `p = ${p}`), rows: names.map((name, l) => [name, ...data.right.map((of) => of[l])]) },
          ...areas.map(({ name, M }) => matrixTable(`${name}, p = ${data.p[k]}`, M[k], axes, axes))]);
        return `p = ${data.p[k]}: ${data.matrices.map(({ name }) => `${name} ${number(right[names.indexOf(name)])}`).join("; ")}; the best without comparing is ${number(data.best[k])}.`;
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
      --W:#0072b2;--negative:#8a5a00;--A:#d55e00;--rule:#8886}
    :host([dark]){--W:#56b4e9;--negative:#d9b777;--A:#f08a3c}
    .controls{display:flex;flex-wrap:wrap;gap:.5rem 1.2rem;margin-bottom:.6rem}
    .field{display:flex;align-items:center;gap:.5rem;max-width:100%;flex-wrap:wrap}
    select,input{font:inherit;color:inherit;background:transparent;max-width:100%;accent-color:var(--A)}
    select,input[type=text]{border:1px solid;border-radius:3px;padding:.15rem .3rem}
    option{color:#111;background:#fff} input[type=text]{width:16rem} input[type=checkbox]{width:1.2rem;height:1.2rem}
    :focus-visible{outline:2px solid var(--A);outline-offset:2px}
    .stages{display:flex;flex-wrap:wrap;gap:.6rem 1rem}
    .stage{flex:1 1 260px;min-width:0} .stage p{font-weight:600;margin:0 0 .2rem}
    svg{width:100%;height:auto;display:block;overflow:visible} text{fill:currentColor;font:13px system-ui,sans-serif}
    .strong{font-weight:600} line.A,line.W{fill:none;stroke-linecap:round} line.A{stroke:var(--A)} line.W{stroke:var(--W)}
    rect.A{fill:var(--A)} rect.W{fill:var(--W)} rect.negative{fill:var(--negative)} .frame{fill:none;stroke:currentColor}
    .curve{fill:none;stroke:var(--W);stroke-width:2}
    .node{fill:currentColor} .axis{stroke:currentColor;stroke-opacity:.45} .query{stroke:var(--A);stroke-width:2.5}
    .hull{fill:var(--A);fill-opacity:.1;stroke:var(--A);stroke-opacity:.5} .share,.output{fill:var(--A)}
    .handle{fill:currentColor;fill-opacity:.15;stroke:currentColor;cursor:grab}
    .status{min-height:1.45em;margin:.5rem 0;overflow-wrap:anywhere} .numbers{max-width:100%;overflow-x:auto}
    table{border-collapse:collapse;margin:.5rem 0;font-variant-numeric:tabular-nums} caption{text-align:left;font-weight:600}
    th,td{padding:.1rem .6rem .1rem 0;text-align:right;font-weight:400;border-bottom:1px solid var(--rule)} summary{cursor:pointer}`;

  class LiveFigure extends (globalThis.HTMLElement || class {}) {
    connectedCallback() {
      if (!this.shadowRoot) this.start(); // not when moved within the page
      const follow = () => this.toggleAttribute("dark", isLight(getComputedStyle(this).color));
      this.watcher = new MutationObserver(follow);
      for (const node of [document.documentElement, document.body]) this.watcher.observe(node, { attributes: true });
      follow();
    }

    disconnectedCallback() {
      this.watcher?.disconnect();
    }

    /** Build the figure; the still picture is hidden last, so that it stays if anything fails. */
    start() {
      const root = element("div");
      this.panel = new Panel(this, root);
      this.draw = kinds[this.getAttribute("kind")](this.panel, JSON.parse(this.getAttribute("data")));
      this.panel.status.textContent = this.draw();
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
        this.speaking = setTimeout(() => (this.panel.status.textContent = said), 150);
      });
    }
  }

  const isLight = (colour) => { const [r, g, b] = colour.match(/[\d.]+/g).map(Number); return 0.3 * r + 0.59 * g + 0.11 * b > 128; };

  if (globalThis.customElements && !customElements.get("dynattn-live")) customElements.define("dynattn-live", LiveFigure);
  if (typeof module === "object") module.exports = { add, addedUp, answers, distance, dot, embed, groupRows, headWeights, hull, linear, matmul, nearest, softmax, times, tokenize, transpose, weights, wholeBank, withIndex };
})();
