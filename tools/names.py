"""Write dynattn/names.tsv, the names of chapters 9 and 10, from the installed babel: python tools/names.py

babel holds the Unicode Common Locale Data Repository (CLDR), whose names change with its releases, and with them the
numbers of the chapters. So the package ships the names of one release. The environment of requirements.txt has babel
(Sphinx needs it); 2.18 is the first that says which CLDR it holds. The same babel always makes the same file; after
another one, run the chapters and the claims again.

The first line says from which releases the file is made; every other one is a language's code, a tab and a name, the
names of each language sorted. The licence of CLDR's data is copied beside it, into dynattn/names-LICENSE.txt.
"""

from pathlib import Path

import babel
from babel.core import get_cldr_version

from dynattn.corpora import END, LANGUAGES

PACKAGE = Path(__file__).parents[1] / "dynattn"
LICENCE = Path(babel.__file__).parent / "locale-data" / "LICENSE.unicode"


def names(language: str) -> list[str]:
    """What babel calls languages, countries and regions in one language, in lower case, sorted."""
    locale = babel.Locale.parse(language)
    found = {name.lower() for table in (locale.languages, locale.territories) for name in table.values()}
    return sorted(name for name in found if END not in name)


def text() -> str:
    """The whole file."""
    header = f"# From CLDR {get_cldr_version()} by way of babel {babel.__version__}, made by tools/names.py; licence: names-LICENSE.txt"
    rows = [f"{language}\t{name}" for language in LANGUAGES for name in names(language)]
    return "\n".join([header, *rows, ""])


if __name__ == "__main__":
    (PACKAGE / "names.tsv").write_bytes(text().encode())
    (PACKAGE / "names-LICENSE.txt").write_bytes(LICENCE.read_bytes())
