// Makes of each question's folds a form: choose, then check. It runs where it stands, before book.js looks for folds.
for (const form of document.querySelectorAll(".book-quiz")) {
  const fieldset = form.firstElementChild;
  const verdict = document.createElement("div");
  verdict.setAttribute("role", "status");
  const reasons = new Map();
  for (const fold of form.querySelectorAll("details")) {
    const [summary, reason] = fold.children;
    const label = document.createElement("label");
    const radio = document.createElement("input");
    Object.assign(radio, { type: "radio", name: "choice", required: true });
    label.append(radio, summary);
    const text = document.createElement("span");
    text.append(...summary.childNodes);
    summary.replaceWith(text);
    reasons.set(radio, { reason, right: "right" in fold.dataset });
    fold.replaceWith(label);
  }
  const button = document.createElement("button");
  button.textContent = "Check";
  fieldset.append(button, verdict);
  form.addEventListener("change", () => verdict.replaceChildren());
  const show = () => {
    const { reason, right } = reasons.get(form.querySelector(":checked"));
    verdict.className = right ? "book-right" : "book-wrong";
    verdict.replaceChildren(reason);
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    show();
  });
  // On paper, as without scripts, each choice stands with its reason.
  let shown = false;
  addEventListener("beforeprint", () => {
    shown = verdict.hasChildNodes();
    for (const [radio, { reason }] of reasons) radio.parentElement.after(reason);
  });
  addEventListener("afterprint", () => {
    for (const { reason } of reasons.values()) reason.remove();
    if (shown) show();
  });
}
