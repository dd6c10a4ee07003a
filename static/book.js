// What a page of the book can do besides the theme: open and close its folds, print live figures as their
// pictures. Without scripts all of it is simply absent.
{
  const article = document.querySelector(".bd-article");
  const folds = article ? [...article.querySelectorAll("details")] : [];

  // One button for everything that is folded.
  const buttons = document.querySelector(".article-header-buttons");
  if (buttons && folds.length) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn-sm book-folds";
    const allOpen = () => folds.every((fold) => fold.open);
    const label = () => (button.textContent = allOpen() ? "Close all" : "Open all");
    button.addEventListener("click", () => {
      const open = !allOpen();
      for (const fold of folds) fold.open = open;
      label();
    });
    article.addEventListener("toggle", label, true); // it doesn't bubble
    label();
    buttons.prepend(button);
  }

  // A link to a claim opens it.
  const openTarget = () => {
    let fold = document.getElementById(decodeURIComponent(location.hash.slice(1)))?.closest("details");
    for (; fold; fold = fold.parentElement.closest("details")) fold.open = true;
  };
  addEventListener("hashchange", openTarget);
  openTarget();

  // Browsers that don't know ::details-content print what is open.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = folds.filter((fold) => !fold.open);
    for (const fold of closed) fold.open = true;
  });
  addEventListener("afterprint", () => {
    for (const fold of closed) fold.open = false;
  });

  for (const still of document.querySelectorAll("dynattn-live > img")) {
    const copy = still.cloneNode();
    copy.className = "book-still";
    still.parentElement.after(copy);
  }

  // A formula can be reached with the keyboard where it is wider than its place, and only there.
  const sizes = new ResizeObserver((entries) => {
    for (const place of new Set(entries.map(({ target }) => target.closest("div.math")))) {
      if (place.scrollWidth > place.clientWidth) place.tabIndex = 0;
      else place.removeAttribute("tabindex");
    }
  });
  for (const place of document.querySelectorAll(".bd-article div.math")) {
    sizes.observe(place);
    sizes.observe(place.firstElementChild); // the formula grows once more when its font has come
  }
}
