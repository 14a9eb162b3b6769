"""Settings as an operator meets them: `manage.py` in a process of its own, with an environment of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from arcweb.embedded.layout import Layout

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {
    "POSTGRES_PASSWORD": "pw-of-a-database-97",
    "REDIS_PASSWORD": "pw-of-a-redis-97",
    "ARC_SECRET_KEY": "a-key-of-more-than-fifty-characters-0123456789-abcdefg",
}
STATE = "redis://:pw-of-a-state-97@state.invalid/0"
PRODUCTION = {"POSTGRES_HOST": "db.invalid", "REDIS_STATE_URL": STATE, **SECRETS}


def manage(*arguments: str, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """manage.py as in a fresh clone with these variables: nothing of ours, no data, no .env."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "ARC_ENV_FILE": "",
            "ARC_DATA_DIR": str(tmp_path / "var"),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@pytest.mark.parametrize(
    ("name", "value"), [*((name, None) for name in SECRETS), ("POSTGRES_PASSWORD", "changeme")]
)
def test_production_refuses_a_missing_or_default_secret_with_one_sentence(
    tmp_path: Path, name: str, value: str | None
) -> None:
    environment = {key: text for key, text in PRODUCTION.items() if key != name}
    if value is not None:
        environment[name] = value
    done = manage("check", tmp_path=tmp_path, **environment)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"ARC Web cannot start: {name} is ")
    assert "make generate-secrets" in done.stderr
    assert value is None or value not in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("REDIS_URL", "redis://:password@localhost:6379/0", "the password in REDIS_URL is a default"),
        ("REDIS_STATE_URL", "rediss://arc:short-%31@h/0", "the password in REDIS_STATE_URL is a default"),
        ("REDIS_STATE_URL", "unix:///run/a.sock?password=changeme", "the password in REDIS_STATE_URL is"),
        ("ARC_REPLICATION_PASSWORD", "changeme", "ARC_REPLICATION_PASSWORD is a default or shorter"),
    ],
)
def test_production_refuses_a_default_password_in_an_address_and_of_the_role_of_backups(
    tmp_path: Path, name: str, value: str, said: str
) -> None:
    done = manage("check", tmp_path=tmp_path, **PRODUCTION | {name: value})
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"ARC Web cannot start: {said}")
    assert "make generate-secrets" in done.stderr
    assert value not in done.stderr


def test_an_own_redis_without_a_password_is_told_by_check(tmp_path: Path) -> None:
    done = manage("check", tmp_path=tmp_path, **PRODUCTION | {"REDIS_STATE_URL": "redis://state.invalid/0"})
    assert done.returncode == 0
    assert "arcweb.W003) REDIS_STATE_URL holds no password" in done.stderr


def test_a_bad_number_is_one_sentence(tmp_path: Path) -> None:
    done = manage("check", tmp_path=tmp_path, ARC_PORT="eighty")
    assert done.returncode == 1
    assert done.stderr.startswith("ARC Web cannot start: the variable ARC_PORT")
    assert done.stderr.rstrip().endswith("A good value is ARC_PORT=8000.")
    assert "Traceback" not in done.stderr


def test_production_passes_every_check_of_django_for_deployment(tmp_path: Path) -> None:
    store = {"BUCKET": "copies", "KEY_ID": "arcweb", "SECRET": SECRETS["ARC_SECRET_KEY"]}
    second_place = {f"ARC_BACKUP_S3_{name}": text for name, text in store.items()}
    done = manage(
        "check", "--deploy", "--fail-level", "WARNING", tmp_path=tmp_path, **PRODUCTION, **second_place
    )
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


def test_one_redis_for_both_roles_is_told_by_check(tmp_path: Path) -> None:
    environment = {key: text for key, text in PRODUCTION.items() if key != "REDIS_STATE_URL"}
    done = manage("check", tmp_path=tmp_path, **environment)
    assert done.returncode == 0
    assert "arcweb.W001" in done.stderr
    assert SECRETS["REDIS_PASSWORD"] not in done.stderr + done.stdout


def test_secrets_come_from_files_and_reach_the_addresses_escaped(tmp_path: Path) -> None:
    environment = {"POSTGRES_HOST": "db.invalid", "ARC_SECRET_KEY_FILE": str(tmp_path / "key")}
    (tmp_path / "key").write_text(SECRETS["ARC_SECRET_KEY"] + "\n")
    for name, text in (("POSTGRES_PASSWORD", "p@ss/word:of#db"), ("REDIS_PASSWORD", "p@ss/word:of#redis")):
        (tmp_path / name).write_text(text + "\n")
        environment[f"{name}_FILE"] = str(tmp_path / name)
    code = (
        "from django.conf import settings as s; from redis.connection import parse_url;"
        "print(s.SECRET_KEY, s.DATABASES['default']['PASSWORD'], parse_url(s.REDIS_URL)['password'])"
    )
    done = manage("shell", "--no-imports", "-c", code, tmp_path=tmp_path, **environment)
    assert done.stdout.split() == [SECRETS["ARC_SECRET_KEY"], "p@ss/word:of#db", "p@ss/word:of#redis"], (
        done.stderr
    )


def test_generated_secrets_are_new_each_time_and_good_for_production(tmp_path: Path) -> None:
    first, second = (manage("generate_secrets", tmp_path=tmp_path) for _ in range(2))
    assert first.returncode == 0, first.stderr
    lines = [line.partition("=") for line in (first.stdout + second.stdout).splitlines()]
    assert {name for name, _, _ in lines} >= set(SECRETS)
    assert len({value for _, _, value in lines}) == len(lines)
    dotenv = tmp_path / "env"
    example = (ROOT / ".env.example").read_text()
    dotenv.write_text(f"{example}{first.stdout}POSTGRES_HOST=db.invalid\nREDIS_STATE_URL={STATE}\n")
    done = manage("check", "--deploy", "--fail-level", "WARNING", tmp_path=tmp_path, ARC_ENV_FILE=str(dotenv))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("environment", [{"POSTGRES_HOST": "db.invalid"}, {"ARC_PORT": "eighty"}, {}])
def test_make_generate_secrets_prints_nothing_else_and_needs_no_sound_settings(
    environment: dict[str, str],
) -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "-o", "bootstrap", "generate-secrets"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert {line.partition("=")[0] for line in done.stdout.splitlines()} >= set(SECRETS)
    assert all(re.fullmatch(r"[A-Z_]+=[\w-]{40,}", line) for line in done.stdout.splitlines())


def test_bootstrap_talks_to_stderr_alone(tmp_path: Path) -> None:
    """A fresh clone whose packages cannot be had: everything that bootstrap says, and pip, in one go."""
    (tmp_path / "arcweb").mkdir()
    (tmp_path / "arcweb" / "bootstrap.py").write_text((ROOT / "arcweb/bootstrap.py").read_text())
    (tmp_path / "requirements.lock").write_text(
        f"nothing @ file://{tmp_path}/nothing.whl --hash=sha256:{'0' * 64}"
    )
    done = subprocess.run(
        [sys.executable, "-I", "arcweb/bootstrap.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Making .venv" in done.stderr
    assert "The packages could not be installed" in done.stderr
    assert done.stdout == ""


def test_sockets_of_a_stranger_are_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    layout = Layout(tmp_path / "var")
    layout.run_dir.mkdir(parents=True)
    sockets = layout.socket_dir
    sockets.symlink_to(tmp_path / "elsewhere")
    try:
        done = manage("check", tmp_path=tmp_path)
    finally:
        sockets.unlink()
    assert done.returncode == 1
    assert done.stderr.startswith(f"ARC Web cannot start: {sockets}, where")
    assert "Traceback" not in done.stderr


def test_a_fresh_clone_needs_no_variable_at_all(tmp_path: Path) -> None:
    done = manage("check", tmp_path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "var").exists()
