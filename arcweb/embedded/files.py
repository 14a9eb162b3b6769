"""Folders and small files with the right mode and owner from their first moment. No Django."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.layout import SECRETS, Layout
from arcweb.embedded.server_user import ServerUser

#: Passable but not listable: as root, the servers' account must get through to what is its own.
PASSABLE = 0o711
PRIVATE = 0o700
NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC
FOLDER = os.O_RDONLY | os.O_DIRECTORY | NO_LINK


def make_folder(path: Path, *, mode: int = PASSABLE, owner: ServerUser | None = None) -> None:
    """Creates `path`. Without `owner`, also what is missing above it, and an existing folder keeps its mode.

    With `owner` the folder gets that mode and belongs to that account; EmbeddedError when it is a link, or
    a stranger's: in the temporary folder anybody could have put it there.
    """
    if owner is None:
        for folder in reversed(path.parents):
            _make(folder, PASSABLE)
        _make(path, mode)
        return
    with suppress(FileExistsError):
        _make_plainly(path, owner)
    with opened_folder(path, owner, fresh=True) as descriptor:
        owner.take(descriptor)
        os.fchmod(descriptor, mode)


@contextmanager
def opened_folder(path: Path, owner: ServerUser, *, fresh: bool = False) -> Iterator[int]:
    """The descriptor of a folder of that account's, for work inside that no exchange of names can divert.

    `path` is absolute. When this is root it must hold no link at all: the servers' account may write in
    there, and a link of its making would lead root anywhere. fresh: an empty folder of this user's will
    do. Raises EmbeddedError.
    """
    try:
        descriptor = _open_folder(path, owner)
    except OSError as error:
        raise EmbeddedError(_not_a_folder_of(path, owner)) from error
    try:
        uid = os.fstat(descriptor).st_uid
        if uid != owner.uid and not (fresh and uid == os.getuid() and not os.listdir(descriptor)):  # noqa: PTH208
            raise EmbeddedError(_not_a_folder_of(path, owner))
        yield descriptor
    finally:
        os.close(descriptor)


def check_folder(path: Path, owner: ServerUser) -> None:
    """EmbeddedError unless `path` is a folder of that account's and no link."""
    with opened_folder(path, owner):
        pass


def write_private(path: Path, text: str, *, owner: ServerUser | None = None) -> None:
    """Replaces `path` in one step by a file of mode 600 that belongs to `owner` (default: this user)."""
    temporary = f".{path.name}.{secrets.token_hex(4)}"
    with opened_folder(path.parent, owner) if owner else _opened(path.parent) as folder:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK, 0o600, dir_fd=folder)
        try:
            with os.fdopen(descriptor, "w") as file:
                if owner is not None:
                    owner.take(file.fileno())
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            raise


def read_owned(path: Path, owner: ServerUser) -> str:
    """The text of a file of that account's, "" when there is none. EmbeddedError for a link and the like."""
    try:
        with os.fdopen(_open_file(path, os.O_RDONLY, owner)) as file:
            return file.read()
    except FileNotFoundError:
        return ""


def append_owned(path: Path, text: str, owner: ServerUser) -> None:
    """Adds to a file of that account's that exists. EmbeddedError for a link and the like."""
    with os.fdopen(_open_file(path, os.O_WRONLY | os.O_APPEND, owner), "a") as file:
        file.write(text)


def remove_owned(path: Path, owner: ServerUser) -> None:
    """Removes a file, or a link itself, from a folder of that account's; it may be gone already."""
    with opened_folder(path.parent, owner) as folder, suppress(FileNotFoundError):
        os.unlink(path.name, dir_fd=folder)


def _make(folder: Path, mode: int) -> None:
    try:
        folder.mkdir()
    except FileExistsError:
        return
    descriptor = os.open(folder, FOLDER)
    try:
        os.fchmod(descriptor, mode)  # not mkdir's mode, which the umask narrows
    finally:
        os.close(descriptor)


def _make_plainly(path: Path, owner: ServerUser) -> None:
    if not owner.switches:
        path.mkdir(mode=PRIVATE)
        return
    try:
        parent = _open_folder(path.parent, owner)
    except OSError as error:
        raise EmbeddedError(_not_a_folder_of(path, owner)) from error
    try:
        os.mkdir(path.name, PRIVATE, dir_fd=parent)
    finally:
        os.close(parent)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_folder(path: Path, owner: ServerUser) -> int:
    if not owner.switches:
        return os.open(path, FOLDER)
    descriptor = os.open("/", FOLDER)
    for part in path.parts[1:]:
        parent = descriptor
        try:
            descriptor = os.open(part, FOLDER, dir_fd=parent)
        finally:
            os.close(parent)
    return descriptor


def _open_file(path: Path, flags: int, owner: ServerUser) -> int:
    wrong = f"{path} must be a plain file that belongs to {owner.name}, but it is not. Put it right by hand."
    with opened_folder(path.parent, owner) as folder:
        try:
            # Not blocking: opening a named pipe would wait for ever.
            descriptor = os.open(path.name, flags | NO_LINK | os.O_NONBLOCK, dir_fd=folder)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise EmbeddedError(wrong) from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != owner.uid:
        os.close(descriptor)
        raise EmbeddedError(wrong)
    return descriptor


def _not_a_folder_of(path: Path, owner: ServerUser) -> str:
    return (
        f"{path} must be a folder that belongs to {owner.name}, without a link in its path, but it is not. "
        f"Put it right (data that you moved there: chown -R {owner.name}) or remove it, and start again."
    )


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
