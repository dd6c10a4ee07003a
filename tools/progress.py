"""Long work says what it is doing: a line when it starts, one every few seconds while it goes on, one when it ends."""

import signal
import subprocess
import sys
import threading
import time

EVERY = 5  # seconds between two lines


def say(text):
    print(text, flush=True)


def run(title, command, tell=None, **options):
    """Run a command and tell its progress; return its exit code and all that it printed.

    ``tell`` turns a line of the command's output into what is told of it, or into None. An interruption ends the
    command, too.
    """
    started, lines, latest = time.monotonic(), [], ""
    say(title)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
        errors="replace", **options
    )  # fmt: skip

    def read():
        for line in process.stdout:
            lines.append(line)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    told = 0
    try:
        while reader.is_alive():
            reader.join(EVERY)
            if reader.is_alive():
                for line in lines[told:]:
                    latest = (tell and tell(line.strip())) or latest
                    told += 1
                say("  {:.0f} s{}".format(time.monotonic() - started, latest and ": " + latest))
        return process.wait(), "".join(lines)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def to_its_end(work, kept):
    """Call a tool's work. An interruption or a failing disk ends it in one line that says what is kept."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        work()
    except KeyboardInterrupt:
        print(f"interrupted: {kept}", file=sys.stderr)
        sys.exit(130)
    except OSError as error:  # a full disk, or a folder that cannot be written to
        sys.exit(f"{error.filename}: {error.strerror}; {kept}")
