"""Paths, permissions and secrets of a data folder."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.files import (
    append_owned,
    make_folder,
    prepare_data_folder,
    read_owned,
    remove_owned,
    write_private,
)
from arcweb.embedded.layout import LONGEST_SOCKET_FOLDER, SECRETS, TEMPORARY, Layout
from arcweb.embedded.server_user import ServerUser, server_user


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, and open to all, as /tmp/pytest-of-… is not."""
    with tempfile.TemporaryDirectory(prefix="arcweb-l-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_private_distinct_and_kept(folder: Path) -> None:
    layout = Layout(folder / "var")
    prepare_data_folder(layout)
    first = {name: layout.read_secret(name) for name in SECRETS}
    assert len(set(first.values())) == len(SECRETS)
    assert all(len(value) >= 48 for value in first.values())
    assert {mode(path) for path in layout.secrets_dir.iterdir()} == {0o600}
    assert mode(layout.secrets_dir) == mode(layout.log_dir) == 0o700
    prepare_data_folder(layout)
    assert {name: layout.read_secret(name) for name in SECRETS} == first


def test_a_narrow_umask_does_not_close_the_way_to_the_servers(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        prepare_data_folder(Layout(folder / "new" / "var"))
    finally:
        os.umask(before)
    assert mode(folder / "new") == mode(folder / "new" / "var" / "run") == 0o711


def test_write_private_replaces_a_link_instead_of_following_it(folder: Path) -> None:
    (folder / "target").write_text("untouched")
    (folder / "link").symlink_to(folder / "target")
    write_private(folder / "link", "secret")
    assert (folder / "target").read_text() == "untouched"
    assert mode(folder / "link") == 0o600
    assert not (folder / "link").is_symlink()


def test_sockets_lie_in_the_data_folder_when_its_path_is_short_and_plain(folder: Path) -> None:
    layout = Layout(folder / "var")
    assert layout.socket_dir == folder / "var" / "run" / "sockets"


@pytest.mark.parametrize("name", ["with space", "quo'te", "ünïcode", "x" * LONGEST_SOCKET_FOLDER])
def test_else_they_lie_in_tmp_whatever_tmpdir_says(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    one, other = Layout(folder / name), Layout(folder / name / "clone")
    assert one.socket_dir.parent == Path("/tmp")
    assert one.socket_dir != other.socket_dir


@pytest.mark.skipif(os.getuid() != 0, reason="only root starts servers as another account")
def test_as_root_a_folder_that_others_cannot_reach_has_its_sockets_elsewhere(folder: Path) -> None:
    private = folder / "private"
    private.mkdir(mode=0o700)
    layout = Layout(private / "var")
    before = layout.socket_dir
    prepare_data_folder(layout)
    assert before == layout.socket_dir, "the answer must not change by starting"
    assert before.parent == TEMPORARY


def test_a_socket_folder_that_is_a_link_is_refused(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "sockets").symlink_to(folder / "elsewhere")
    me = ServerUser("me", os.getuid(), os.getgid())
    with pytest.raises(EmbeddedError, match="must be a folder that belongs to me"):
        make_folder(folder / "sockets", mode=0o700, owner=me)


NOBODY = ServerUser("nobody", 65534, 65534)
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root works for another account")


@as_root
def test_root_follows_no_link_of_the_servers_account(folder: Path) -> None:
    target = folder / "etc"
    target.mkdir(mode=0o755)
    (target / "file").write_text("root's\n")
    servers = folder / "servers"
    make_folder(servers, mode=0o700, owner=NOBODY)
    (servers / "valkey-state").symlink_to(target)
    (servers / "file").symlink_to(target / "file")
    (servers / "open").mkdir()
    (servers / "open" / "file").touch()  # root's, and not empty
    for attempt in (
        lambda: make_folder(servers / "valkey-state", mode=0o700, owner=NOBODY),
        lambda: make_folder(servers / "valkey-state" / "below", mode=0o700, owner=NOBODY),
        lambda: make_folder(servers / "open", mode=0o700, owner=NOBODY),
        lambda: write_private(servers / "valkey-state" / "new", "x", owner=NOBODY),
        lambda: remove_owned(servers / "valkey-state" / "file", NOBODY),
        lambda: append_owned(servers / "file", "more", NOBODY),
        lambda: read_owned(servers / "file", NOBODY),
    ):
        with pytest.raises(EmbeddedError, match="must be a"):
            attempt()
    assert (mode(target), target.stat().st_uid) == (0o755, 0)
    assert [path.name for path in target.iterdir()] == ["file"]
    assert (target / "file").read_text() == "root's\n"
    assert (servers / "open").stat().st_uid == 0


@as_root
def test_a_folder_that_root_made_and_did_not_hand_over_yet_is_taken(folder: Path) -> None:
    (folder / "sockets").mkdir()
    make_folder(folder / "sockets", mode=0o700, owner=NOBODY)
    assert ((folder / "sockets").stat().st_uid, mode(folder / "sockets")) == (NOBODY.uid, 0o700)


@as_root
def test_files_of_the_servers_account_are_read_and_added_to_but_a_pipe_holds_up_nobody(folder: Path) -> None:
    make_folder(folder / "servers", mode=0o700, owner=NOBODY)
    path = folder / "servers" / "file"
    assert read_owned(path, NOBODY) == ""
    write_private(path, "one\n", owner=NOBODY)
    append_owned(path, "two\n", NOBODY)
    assert read_owned(path, NOBODY) == "one\ntwo\n"
    remove_owned(path, NOBODY)
    remove_owned(path, NOBODY)
    os.mkfifo(path)
    os.chown(path, NOBODY.uid, NOBODY.gid)
    with pytest.raises(EmbeddedError, match="must be a plain file"):
        read_owned(path, NOBODY)


def test_clients_send_no_password_to_a_socket_folder_of_somebody_else(folder: Path) -> None:
    layout = Layout(folder / "var")
    prepare_data_folder(layout)
    assert layout.strange_sockets() == ""
    layout.socket_dir.mkdir(mode=0o700)
    assert layout.strange_sockets() == ""
    layout.socket_dir.chmod(0o755)
    assert "remove it and start again" in layout.strange_sockets()
    layout.socket_dir.rmdir()
    (folder / "elsewhere").mkdir(mode=0o700)
    layout.socket_dir.symlink_to(folder / "elsewhere")
    assert "is a link" in layout.strange_sockets()
    if os.getuid() == 0:
        layout.socket_dir.unlink()
        make_folder(layout.socket_dir, mode=0o700, owner=NOBODY)
        assert "another user's" in layout.strange_sockets()
        make_folder(layout.servers_dir, mode=0o700, owner=NOBODY)
        assert layout.strange_sockets() == ""


def test_servers_never_run_as_root(folder: Path) -> None:
    user = server_user("", folder / "postgres")
    assert user.uid != 0
    assert user.switches == (os.getuid() == 0)


@pytest.mark.skipif(os.getuid() != 0, reason="only root chooses an account")
def test_the_owner_of_existing_data_is_kept_and_another_wish_is_refused(folder: Path) -> None:
    data = folder / "postgres"
    data.mkdir()
    os.chown(data, 65534, 65534)
    assert server_user("", data).uid == 65534
    with pytest.raises(EmbeddedError, match="belongs to"):
        server_user("daemon", data)
    with pytest.raises(EmbeddedError, match="no ordinary account no-such-account"):
        server_user("no-such-account", folder / "none")
