"""Write the repository's address everywhere it is known: `make repo URL=https://github.com/OWNER/NAME`."""

import re
import sys
from pathlib import Path

ADDRESS = r"https://[A-Za-z0-9.-]+/[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]*[A-Za-z0-9_-]"
PLACES = ("_config.yml", "pyproject.toml", "CITATION.cff", "*.md", "book/*.md", "book/**/*.ipynb")


def current(root: Path) -> str:
    """The address as the book's configuration holds it."""
    return re.search(rf"^repository:\n  url: ({ADDRESS})$", (root / "_config.yml").read_text(), re.MULTILINE)[
        1
    ]


def site(url: str) -> str:
    """Where GitHub Pages shows the site of a repository; nothing for one that lies elsewhere."""
    found = re.fullmatch(r"https://github\.com/([^/]+)/([^/]+)", url)
    if not found:
        return ""
    host = f"{found[1].lower()}.github.io"
    return f"https://{host}/" if found[2].lower() == host else f"https://{host}/{found[2]}/"


def write(root: Path, new: str) -> list[Path]:
    """Replace the current address by `new` in every place, and return the files changed."""
    if not re.fullmatch(ADDRESS, new) or new.endswith(".git"):
        raise SystemExit(
            f"URL: got {new!r}, expected https://HOST/OWNER/NAME, such as https://github.com/OWNER/NAME"
        )
    old = re.compile(re.escape(current(root)) + r"(?![\w-])")
    changed = []
    for path in sorted(path for place in PLACES for path in root.glob(place)):
        text = path.read_bytes().decode()
        if (replaced := old.sub(lambda _: new, text)) != text:
            path.write_bytes(replaced.encode())
            changed.append(path)
    return changed


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    for path in write(root, sys.argv[1] if len(sys.argv) > 1 else ""):
        print(path.relative_to(root))
