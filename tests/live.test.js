// The arithmetic of live.js against torch in double precision: `node --test tests/live.test.js`, with the cases that
// test_live.py writes in the file named by DYNATTN_CASES. DYNATTN_LIVE names another script to test, as a mutant.
"use strict";

const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { test } = require("node:test");

const live = require(process.env.DYNATTN_LIVE || join(__dirname, "..", "dynattn", "live", "live.js"));
const cases = JSON.parse(readFileSync(process.env.DYNATTN_CASES, "utf-8"));

function close(got, want, name = "") {
  assert.deepEqual([got.length, got[0].length], [want.length, want[0].length]);
  want.forEach((row, i) => row.forEach((x, j) => {
    assert.ok(Math.abs(got[i][j] - x) <= 1e-12 * Math.max(1, Math.abs(x)), `${name} [${i}][${j}]: got ${got[i][j]}, expected ${x}`);
  }));
}

test("matrix products", () => {
  assert.ok(cases.products.length);
  for (const { A, B, AB } of cases.products) {
    close(live.matmul(A, B), AB);
    close(live.linear(A, live.transpose(B)), AB);
    close(live.transpose(live.transpose(A)), A);
    close(live.add(A, live.times(A, -0.5)), live.times(A, 0.5));
  }
  assert.equal(live.dot([1, 2, 3], [4, 5, 6]), 32);
});

test("computed weights: shapes, scales, masks and large logits", () => {
  assert.ok(cases.attention.length > 100);
  for (const { name, Q, K, scale, mask, A } of cases.attention) {
    close(live.weights(Q, K, { scale: scale ?? undefined, mask }), A, name);
  }
});

test("softmax of logits far from each other, and all far from 0", () => {
  close([live.softmax([1000, 999])], [[1 / (1 + Math.exp(-1)), 1 / (1 + Math.E)]]);
  close([live.softmax([-1000, -1000])], [[0.5, 0.5]]);
  close([live.softmax([0, -2000, 800])], [[0, 0, 1]]);
  close([live.softmax([7])], [[1]]);
});

test("banks of weights: built, searched, and added up", () => {
  assert.ok(cases.banks.length);
  for (const { split, bank, A, nearest, distance, basis, added } of cases.banks) {
    const built = live.wholeBank(split);
    assert.equal(built.length, bank.length);
    bank.forEach((W, k) => close(built[k], W));
    close(live.nearest(built, A), nearest);
    assert.ok(Math.abs(live.distance(A, nearest) - distance) <= 1e-12);
    close(live.addedUp(basis, A), added);
  }
  close(live.groupRows(4, 3), [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0.5, 0.5]]);
});

test("the head over words", () => {
  const head = live.withIndex(structuredClone(cases.head));
  assert.ok(cases.sentences.length);
  for (const { tokens, X, A, answers } of cases.sentences) {
    const embedded = live.embed(head, tokens);
    assert.deepEqual(embedded.unknown, []);
    close(embedded.X, X);
    close(live.headWeights(head, embedded.X), A);
    assert.deepEqual(live.answers(head, A, X), answers);
    assert.deepEqual(live.embed(head, tokens.map((token) => token.toUpperCase())), embedded);
  }
});

test("answers follow the weights that are given, not the tokens' own", () => {
  const head = live.withIndex(structuredClone(cases.head));
  for (const { A, X, answers } of cases.transplants) assert.deepEqual(live.answers(head, A, X), answers);
});

test("unknown words are listed, whatever they are called", () => {
  const head = live.withIndex(structuredClone(cases.head));
  const strange = ["__proto__", "constructor", "toString", "<b>", "zebra", ""];
  for (const word of strange) assert.deepEqual(live.embed(head, [word]), { unknown: [word] });
  assert.deepEqual(live.embed(head, ["I", ...strange, "student"]).unknown, strange);
  const odd = live.withIndex({ vocabulary: ["__proto__", "<b>"], words: [[1], [2]], places: [[10], [20]] });
  assert.deepEqual(live.embed(odd, ["<B>", "__proto__"]), { unknown: [], X: [[12], [21]] });
  assert.deepEqual(live.embed(odd, ["constructor"]).unknown, ["constructor"]);
});

test("tokens of a typed text", () => {
  const expected = {
    "I am a student.": ["I", "am", "a", "student", "."],
    "  student a am I ": ["student", "a", "am", "I"],
    "Cats chase mice!?": ["Cats", "chase", "mice", "!", "?"],
    "don't well-kept": ["don't", "well-kept"],
    "<b>I</b>": ["<", "b", ">", "I", "<", "/", "b", ">"],
    "Größe\tist 42,\n日本": ["Größe", "ist", "42", ",", "日本"],
    "a😀b": ["a", "😀", "b"],
    " \n\t": [],
    "": [],
  };
  for (const [text, tokens] of Object.entries(expected)) assert.deepEqual(live.tokenize(text), tokens);
});

const bytesOf = (text) => Uint8Array.from(Buffer.from(text, "base64"));

test("the error function", () => {
  assert.ok(cases.erf.length > 400);
  for (const [x, value] of cases.erf) assert.ok(Math.abs(live.erf(x) - value) <= 1e-14, `erf(${x}): got ${live.erf(x)}, expected ${value}`);
});

test("float16 numbers, exactly", () => {
  const { bytes, values } = cases.halves, layout = { vocabulary: "", parameters: [["x", [values.length]]] };
  assert.ok(values.length > 1000);
  assert.deepEqual([...live.unpack(layout, bytesOf(bytes)).P.x], values);
});

test("a small GPT: every layer's A, and the logits, for texts read anew or after another text", () => {
  const near = (got, want, name) => {
    assert.equal(got.length, want.length, name);
    want.forEach((x, i) => assert.ok(Math.abs(got[i] - x) <= 1e-9 * Math.max(1, Math.abs(x)), `${name} [${i}]: got ${got[i]}, expected ${x}`));
  };
  assert.ok(cases.gpts.length > 5);
  for (const { layout, payload, texts } of cases.gpts) {
    const net = live.unpack(layout, bytesOf(payload)), P = Object.entries(net.P);
    assert.deepEqual(P.map(([name, numbers]) => [name, numbers.length]), layout.parameters.map(([name, shape]) => [name, shape.reduce((a, b) => a * b)]));
    let known = [];
    // Each text alone, the longest again after the others, and each with one character less.
    for (const { ids, A, logits } of [...texts, ...[...texts].reverse()]) {
      const before = live.read(net, ids.slice(0, -1), known);
      assert.equal(before.length, ids.length - 1);
      for (const rows of [live.read(net, ids), live.read(net, ids, known), known = live.read(net, ids, before)]) {
        assert.equal(rows.length, ids.length);
        rows.forEach((row, i) => {
          near(row.logits, logits[i], `logits of ${i}`);
          A.forEach((heads, l) => heads.forEach((M, h) => {
            near(row.A[l][h], M[i].slice(0, i + 1), `A[${l}][${h}][${i}]`);
            assert.ok(M[i].slice(i + 1).every((a) => a === 0));
          }));
        });
      }
    }
  }
});

test("parameters that are not all there are refused", () => {
  const { layout, payload } = cases.gpts[0], bytes = bytesOf(payload);
  for (const wrong of [bytes.slice(2), Uint8Array.from([...bytes, 0, 0])]) assert.throws(() => live.unpack(layout, wrong), /bytes, expected/);
});

test("characters of a typed text", () => {
  const net = live.withIndex({ vocabulary: [..."; abc𝔸é"], context: 4 });
  const expected = {
    "AbC": { ids: [2, 3, 4], length: 3, unknown: [] },
    "a; b<b>": { ids: [0, 1, 3, 3], length: 5, unknown: ["<", ">"] },
    "1;1😀𝔸": { ids: [0, 5], length: 2, unknown: ["1", "😀"] },
    "Éabczzzzz;": { ids: [2, 3, 4, 0], length: 5, unknown: ["z"] },
    "__proto__": { ids: [], length: 0, unknown: ["_", "p", "r", "o", "t"] },
    "": { ids: [], length: 0, unknown: [] },
  };
  for (const [text, want] of Object.entries(expected)) assert.deepEqual(live.characters(net, text), want);
});

test("how far apart two layers' weights are", () => {
  assert.ok(cases.apart.length);
  for (const { A, B, distance } of cases.apart) {
    assert.ok(Math.abs(live.apart(A, B) - distance) <= 1e-12);
    assert.equal(live.apart(A, A), 0);
  }
  assert.equal(live.apart([[[1, 0], [1, 0]]], [[[0, 1], [1, 0]]]), 0.5);
});

test("the convex hull, in order", () => {
  const turns = (corners) => corners.map((p, i) => {
    const [a, b] = [corners[(i + 1) % corners.length], corners[(i + 2) % corners.length]];
    return (a[0] - p[0]) * (b[1] - p[1]) - (a[1] - p[1]) * (b[0] - p[0]);
  });
  assert.deepEqual(live.hull([[0, 0], [1, 1], [2, 0], [1, 0], [2, 2], [0, 2]]), [[0, 0], [2, 0], [2, 2], [0, 2]]);
  for (const { points, corners } of cases.hulls) {
    const before = structuredClone(points), hull = live.hull(points);
    assert.deepEqual(points, before);
    assert.ok(turns(hull).every((turn) => turn > 0));
    assert.deepEqual([...hull].sort(), [...corners].sort());
  }
});
