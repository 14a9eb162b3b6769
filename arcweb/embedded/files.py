"""Folders and small files with the right mode and owner from their first moment. No Django."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.layout import SECRETS, Layout
from arcweb.embedded.server_user import ServerUser

#: Passable but not listable: as root, the servers' account must get through to what is its own.
PASSABLE = 0o711
PRIVATE = 0o700


def make_folder(path: Path, *, mode: int = PASSABLE, owner: ServerUser | None = None) -> None:
    """Creates `path` and what is missing above it; an existing folder keeps its mode.

    With `owner` the folder belongs to that account, and one that belongs to a stranger is refused:
    in the temporary folder anybody could have put it there.
    """
    for folder in reversed((path, *path.parents)):
        with suppress(FileExistsError):
            folder.mkdir()
            # Not mkdir's mode, which the umask narrows.
            folder.chmod(mode if folder == path else PASSABLE)
            if owner is not None and folder == path:
                owner.take(folder)
    if owner is None:
        return
    found = path.lstat()
    if path.is_symlink() or not path.is_dir() or found.st_uid not in {owner.uid, os.getuid()}:
        raise EmbeddedError(
            f"{path} must be a folder that belongs to {owner.name}, but it is not. Remove it and start again."
        )
    path.chmod(mode)
    owner.take(path)


def write_private(path: Path, text: str, *, owner: ServerUser | None = None) -> None:
    """Replaces `path` in one step by a file of mode 600 that belongs to `owner` (default: this user)."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            if owner is not None:
                owner.take(file.fileno())
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def prepare_data_folder(layout: Layout, *, with_secrets: bool = True) -> None:
    """Makes the data folder, with its secrets for the embedded servers; what exists is kept. Idempotent.

    Raises EmbeddedError when another user owns the folder.
    """
    try:
        for folder, mode in (
            (layout.data_dir, PASSABLE),
            (layout.run_dir, PASSABLE),
            (layout.log_dir, PRIVATE),
            *([(layout.secrets_dir, PRIVATE)] if with_secrets else []),
        ):
            make_folder(folder, mode=mode)
        # A folder of another user fails here, with PermissionError.
        with locked(layout.run_dir / "secrets.lock"):
            for name in SECRETS if with_secrets else ():
                if not layout.read_secret(name):
                    write_private(layout.secrets_dir / name, secrets.token_urlsafe(36) + "\n")
    except PermissionError as error:
        raise EmbeddedError(
            f"The data folder {layout.data_dir} cannot be written: it belongs to another user. Start as that "
            f"user, or choose another folder, for example ARC_DATA_DIR=$HOME/arcweb."
        ) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for the lock file `path` and holds it; the kernel lets go when the process dies."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
