"""The container files, as far as can be told without Docker: valid, complete, free of secrets."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema.validators import validator_for
from redis import Redis

from arcweb.celery import app as celery_app
from arcweb.embedded import binaries
from arcweb.embedded.layout import WORKERS
from arcweb.embedded.postgres import SETTINGS
from tests.arcweb.test_env_example import names_in_settings
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
BASE, STACK = "docker-compose.yml", "docker-compose.stack.yml"
VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>[A-Z0-9_]+)(?:(?P<kind>:[-?])(?P<rest>[^}]*))?\}")
#: What the containers set themselves, or what means something outside of them alone.
NOT_PASSED_ON = {
    "ARC_BIND", "ARC_DATA_DIR", "ARC_ENV_FILE", "ARC_REPLICATION_PASSWORD", "ARC_SERVER_USER",
    "ARC_STATIC_DIR", "ARC_WEB_THREADS", "ARC_WORKERS", "PROMETHEUS_MULTIPROC_DIR", "REDIS_PASSWORD",
}  # fmt: skip
APP = ("web", "worker", "worker-quick", "beat", "migrate")


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return loaded


def interpolated(value: Any, **variables: str) -> Any:
    """As compose replaces variables: ${NAME:-default}, ${NAME:?message}, and $$ for a dollar."""
    if isinstance(value, dict):
        return {key: interpolated(item, **variables) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolated(item, **variables) for item in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        found = variables.get(match["name"], "")
        assert found or match["kind"] != ":?", f"{match['name']} is required"
        return found or (match["rest"] or "" if match["kind"] == ":-" else "")

    return VARIABLE.sub(replace, value).replace("$$", "$")


SECRETS = {
    "POSTGRES_PASSWORD": "app-pw",
    "POSTGRES_SUPERUSER_PASSWORD": "super-pw",
    "ARC_REPLICATION_PASSWORD": "replication-pw",
    "REDIS_PASSWORD": "redis-pw",
    "ARC_SECRET_KEY": "key",
}


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    return load(BASE)


@pytest.fixture(scope="module")
def services(base: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = interpolated(base["services"], **SECRETS)
    return found


@pytest.mark.parametrize("name", [BASE, STACK])
def test_the_files_fit_the_schema_of_compose(name: str) -> None:
    schema = json.loads(
        files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text()
    )
    errors = [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
        for error in validator_for(schema)(schema).iter_errors(interpolated(load(name), **SECRETS))
    ]
    assert errors == []


def test_the_stack_file_only_publishes_the_servers_of_the_base_on_loopback(services: dict[str, Any]) -> None:
    added = interpolated(load(STACK)["services"])
    assert added == {
        "postgres": {"ports": ["127.0.0.1:5432:5432"]},
        "redis": {"ports": ["127.0.0.1:6379:6379"]},
        "redis-state": {"ports": ["127.0.0.1:6380:6379"]},
    }
    assert set(added) < set(services)
    assert [name for name, service in services.items() if "ports" in service] == ["web"]
    assert services["web"]["ports"] == ["127.0.0.1:8000:8000"]


def test_every_reference_leads_somewhere(base: dict[str, Any], services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services) - {name}
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in base["volumes"], volume
        for address in re.findall(
            r"//(?:[^@/]*@)?([a-z-]+):\d", " ".join(_texts(service.get("environment", {})))
        ):
            assert address in services


def _texts(environment: dict[str, Any]) -> list[str]:
    return [value for value in environment.values() if isinstance(value, str)]


def test_every_service_is_watched_locked_down_and_limited(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        if name != "migrate":
            assert service["healthcheck"]["test"], name
            assert service["restart"] == "unless-stopped", name
    # Waiting for a container that ends would fail unless one that stays needs it to end well.
    assert services["migrate"]["restart"] == "no"
    assert services["web"]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_each_queue_has_a_worker_of_its_own_that_is_asked_by_its_name(services: dict[str, Any]) -> None:
    found = {}
    for name in WORKERS:
        options = dict(
            word.removeprefix("--").split("=", 1) for word in services[name]["command"] if "=" in word
        )
        assert options["hostname"] == f"{name}@%h"
        assert f'"{name}@$(hostname)"' in services[name]["healthcheck"]["test"][1]
        found[name] = options["queues"]
    assert found == WORKERS


def test_images_are_pinned_to_a_major_version(services: dict[str, Any]) -> None:
    images = {service["image"] for service in services.values() if "build" not in service}
    assert images == {"pgvector/pgvector:pg18", "redis:8"}
    bases = set(re.findall(r"(?m)^FROM (\S+)", (ROOT / "Dockerfile").read_text()))
    assert bases == {"python:3.11-slim-trixie"}


def test_copies_of_redis_are_tried_by_the_server_that_wrote_them(services: dict[str, Any]) -> None:
    """No server but one of that version or newer loads them, and none without the modules that it loaded."""
    [image] = re.findall(r"(?m)^COPY --from=(\S+:\S+) \S+/redis-server ", (ROOT / "Dockerfile").read_text())
    for name in ("redis", "redis-state"):
        assert services[name]["image"] == image
        assert "/usr/local/lib/redis/modules" in services[name]["tmpfs"]


def test_copies_may_go_to_a_store(services: dict[str, Any]) -> None:
    """The settings of S3 reach the containers, so that the library behind them is there as well."""
    assert "ARC_BACKUP_S3_BUCKET" in services["worker"]["environment"]
    assert "-r /tmp/requirements-s3.lock" in (ROOT / "Dockerfile").read_text()


def test_every_secret_is_asked_for_and_none_has_a_default() -> None:
    text = (ROOT / BASE).read_text()
    uses = {match["name"]: [] for match in VARIABLE.finditer(text)}
    for match in VARIABLE.finditer(text):
        uses[match["name"]].append(match["kind"])
    for name in SECRETS:
        assert ":?" in uses[name], name
        assert ":-" not in uses[name], name
    assert {name for name in uses if name.endswith(("PASSWORD", "_KEY"))} == set(SECRETS)
    with pytest.raises(AssertionError, match="is required"):
        interpolated(load(BASE))
    for line in text.splitlines():
        if re.match(r"\s+[A-Z_]*(PASSWORD|SECRET|AUTH|KEY)[A-Z_]*:", line):
            assert re.search(r"\$\{|: \*|:$|HOST_AUTH_METHOD", line), line


def test_the_app_gets_every_variable_that_settings_read_and_no_secret_of_others(
    services: dict[str, Any],
) -> None:
    for name in APP:
        given = set(services[name]["environment"])
        assert names_in_settings() - NOT_PASSED_ON <= given, name
        assert given - names_in_settings() <= {"GUNICORN_CMD_ARGS"}, name
        assert "super-pw" not in _texts(services[name]["environment"])
        # It reads every database: only the service that takes base backups has it.
        assert ("replication-pw" in _texts(services[name]["environment"])) == (name == "worker"), name
    assert not set(SECRETS.values()) & set(_texts(services["model"]["environment"]))


def test_no_secret_stands_on_a_command_line(services: dict[str, Any]) -> None:
    for name, service in services.items():
        line = shlex.join([*service.get("command", []), *service.get("healthcheck", {}).get("test", [])])
        assert not [secret for secret in SECRETS.values() if secret in line], name


def test_only_the_state_role_keeps_everything(services: dict[str, Any]) -> None:
    cache, state = (services[name]["environment"]["REDIS_CONFIG"] for name in ("redis", "redis-state"))
    assert "maxmemory 256mb\nmaxmemory-policy allkeys-lru\n" in cache
    assert "maxmemory-policy noeviction\n" in state
    assert "appendonly yes\nappendfsync everysec\n" in state


@pytest.fixture
def entry_point(tmp_path: Path) -> Path:
    """A folder for PATH whose docker-entrypoint.sh runs what it is given, with this machine's servers."""
    folder = tmp_path / "bin"
    folder.mkdir()
    found = binaries.installed()
    (folder / "redis-server").symlink_to(found.valkey)
    (folder / "postgres").symlink_to(found.postgres / "postgres")
    script = folder / "docker-entrypoint.sh"
    script.write_text('#!/bin/sh\nprogram=$1; shift\nexec "$program" $FIRST_OPTIONS "$@"\n')
    script.chmod(0o755)
    # The account `postgres` is the image's.
    (folder / "install").write_text('#!/bin/sh\nfor last; do :; done\nmkdir -p "$last"\n')
    (folder / "install").chmod(0o755)
    return folder


@pytest.mark.parametrize(("name", "policy"), [("redis", "allkeys-lru"), ("redis-state", "noeviction")])
def test_the_redis_command_starts_a_real_server_with_its_settings(
    services: dict[str, Any], entry_point: Path, tmp_path: Path, name: str, policy: str
) -> None:
    service = services[name]
    environment = dict(service["environment"], PATH=f"{entry_point}:{os.environ['PATH']}")
    socket = tmp_path / "s"
    environment["REDIS_CONFIG"] = (
        environment["REDIS_CONFIG"].replace("dir /data", f"dir {tmp_path}") + f"port 0\nunixsocket {socket}\n"
    )
    command = [word.replace("/run/redis/", f"{tmp_path}/") for word in service["command"]]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        client = Redis(unix_socket_path=str(socket), password="redis-pw")
        until(socket.exists)
        assert client.config_get("maxmemory-policy", "save", "appendonly") == {
            "maxmemory-policy": policy,
            "save": "900 1 300 10 60 10000",
            "appendonly": "no" if name == "redis" else "yes",
        }
        arguments = Path(f"/proc/{server.pid}/cmdline").read_text()
        assert "redis-pw" not in arguments
        assert (tmp_path / "redis.conf").stat().st_mode & 0o077 == 0
    finally:
        server.terminate()
        server.wait(60)


def test_the_postgres_command_writes_a_configuration_that_postgresql_reads(
    services: dict[str, Any], entry_point: Path, tmp_path: Path
) -> None:
    service = services["postgres"]
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "postgresql.conf").write_text("# as initdb leaves it\n")
    command = [
        word.replace("/tmp/arc", f"{tmp_path}/arc").replace("/var/lib/arcweb-wal", f"{tmp_path}/wal")
        for word in service["command"]
    ]
    done = subprocess.run(
        command,
        env={
            **service["environment"],
            "PATH": f"{entry_point}:{os.environ['PATH']}",
            "PGDATA": str(data),
            # Prints the setting and ends, which is all that root may do with this program.
            "FIRST_OPTIONS": "-C shared_buffers",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "32768\n"), done.stderr  # pages of 8 KiB: 256 MB


def test_postgresql_is_set_up_as_on_the_embedded_stack(services: dict[str, Any]) -> None:
    given = dict(
        re.match(r"(\w+) = '?(.*?)'?$", line).groups()  # type: ignore[union-attr]
        for line in services["postgres"]["environment"]["ARC_POSTGRES_CONFIG"].splitlines()
    )
    places = {"listen_addresses", "unix_socket_permissions", "archive_command"}
    assert {name: value for name, value in SETTINGS.items() if name not in places}.items() <= given.items()
    wanted = set(re.findall(r"\\getenv \w+ (\w+)", (ROOT / "arcweb/embedded/init.sql").read_text()))
    assert wanted <= set(services["postgres"]["environment"])


def test_the_log_is_archived_where_the_worker_finds_it(services: dict[str, Any]) -> None:
    postgres, worker = services["postgres"], services["worker"]
    folder = worker["environment"]["ARC_WAL_ARCHIVE_DIR"]
    program = "/usr/local/lib/arcweb/archive-wal.sh"
    assert (
        f'archive_command = \'sh {program} {folder} "%p" "%f"\'\n'
        in postgres["environment"]["ARC_POSTGRES_CONFIG"]
    )
    assert f"./arcweb/embedded/archive-wal.sh:{program}:ro" in postgres["volumes"]
    assert f"wal-archive:{folder}" in postgres["volumes"]
    assert f"wal-archive:{folder}" in worker["volumes"]
    assert f"wal-archive:{folder}:ro" in services["web"]["volumes"]
    others = set(services) - {"postgres", "worker", "web"}
    assert not [name for name in others if "wal-archive" in str(services[name].get("volumes"))]
    # Whoever removes log that nobody needs has to see it.
    queue = celery_app.amqp.router.route({}, "arcweb.backups.tasks.tend_archive")["queue"].name
    assert f"--queues={queue}" in worker["command"]
    # The folder is the group's, and the program leaves it the files.
    assert f"--group=postgres --mode=770 {folder}" in postgres["command"][-1]
    assert services["worker"]["group_add"] == services["web"]["group_add"] == ["999"]


def test_the_rules_let_the_role_of_base_backups_in(
    services: dict[str, Any], entry_point: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    subprocess.run(
        [word.replace("/tmp/arc", f"{tmp_path}/arc").replace("/var/lib/arcweb-wal", f"{tmp_path}/wal")
         for word in services["postgres"]["command"]],
        env={**services["postgres"]["environment"], "PATH": f"{entry_point}:{os.environ['PATH']}",
             "PGDATA": str(data), "FIRST_OPTIONS": "--version"},
        capture_output=True, check=True,
    )  # fmt: skip
    rules = (tmp_path / "arc_hba.conf").read_text()
    assert rules == (
        f'include_if_exists "{data}/pg_hba.conf"\nhost replication arc_replication all scram-sha-256\n'
    )
    assert "hba_file = '/tmp/arc_hba.conf'" in services["postgres"]["environment"]["ARC_POSTGRES_CONFIG"]


def test_the_image_is_built_from_hashes_runs_as_a_number_and_holds_every_package() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes" in text
    assert re.search(r"(?m)^USER 10001:10001$", text)
    sources = {word for line in re.findall(r"(?m)^COPY (?!--)(.+) \S+$", text) for word in line.split()}
    for source in sources:
        assert (ROOT / source).exists(), source
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages | {"templates", "docs", "manage.py"} <= sources
    allowed = set(re.findall(r"(?m)^!(.+)$", (ROOT / ".dockerignore").read_text()))
    assert sources == allowed
