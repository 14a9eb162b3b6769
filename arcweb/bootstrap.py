"""Makes .venv and installs the pinned packages into it: python3 -I arcweb/bootstrap.py [--test]

Standard library only, since nothing else is there yet. A second call finds the stamp of the same lock
file and takes milliseconds; two calls at once wait for each other. The packages for tests are a superset
of those for running, with the same versions.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCKS = {"run": ROOT / "requirements.lock", "test": ROOT / "requirements-test.lock"}


def tell(message: str) -> None:
    """To stderr: `make generate-secrets >> .env` must get secrets alone."""
    print(message, file=sys.stderr, flush=True)


def digest(kind: str) -> str:
    """What a finished installation of that kind ("run" or "test") is recognised by."""
    return hashlib.sha256(LOCKS[kind].read_bytes()).hexdigest()


def stamp(kind: str) -> Path:
    """Holds the digest of what is installed."""
    return VENV / f"arcweb-{kind}.sha256"


def installed(kind: str) -> bool:
    try:
        return stamp(kind).read_text() == digest(kind) and PYTHON.exists()
    except OSError:
        return False


def works() -> bool:
    """Whether .venv's Python runs: an upgrade of the system may have taken its base away."""
    command = [str(PYTHON), "-I", "-c", f"import sys, pip; sys.exit(sys.version_info[:2] < {OLDEST})"]
    try:
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


def make_environment() -> None:
    """Exits with a sentence when the standard library is not whole."""
    try:
        import ensurepip  # noqa: F401 - Debian packs it apart
        import venv
    except ImportError:
        sys.exit("Python's venv module is incomplete here. Install it with: apt install python3-venv")
    tell("Making .venv")
    venv.create(VENV, clear=True, with_pip=True, symlinks=True)


def install(kind: str) -> None:
    """Exits with a sentence when it cannot be done."""
    if not works():
        make_environment()
    lock = LOCKS[kind]
    tell(f"Installing {lock.name} into .venv; the first time takes some minutes")
    pip = [str(PYTHON), "-I", "-m", "pip", "--disable-pip-version-check", "--no-input"]
    command = [*pip, "install", "--quiet", "--require-hashes", "-r", str(lock)]
    code = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False).returncode
    if code != 0:
        sys.exit(
            f"The packages could not be installed (pip ended with {code}; its messages are above). "
            "Mend that and run the same command again: it goes on where it stopped."
        )
    for done in ("run", "test") if kind == "test" else ("run",):
        stamp(done).write_text(digest(done))


def main() -> None:
    """Installs what is asked for, unless it is there already."""
    if sys.version_info < OLDEST:
        sys.exit(
            f"ARC Web needs Python 3.11 or later; {sys.executable} is {sys.version.split()[0]}. "
            "Name a newer one: make PYTHON=python3.11 run"
        )
    kind = "test" if sys.argv[1:] == ["--test"] else "run"
    if installed(kind):
        return
    lock = os.open(ROOT, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not installed(kind):
        install(kind)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. The same command goes on where this one stopped.")
