"""The search for a browser leaves other people's files alone."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.browser.chromium import ensure_chromium


def test_a_link_in_the_temporary_folder_leads_nobody_astray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "victim").write_text("kept")
    (tmp_path / f"arcweb-chromium-{os.getuid()}.lock").symlink_to(tmp_path / "victim")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("CHROMIUM", "/bin/true")
    assert ensure_chromium.__wrapped__() == "/bin/true"
    assert (tmp_path / "victim").read_text() == "kept"
