"""Plain commands that put a copy of Redis back with its own programs and nothing of ours. Pure.

With its append-only file on, a server ignores dump.rdb at its start. So the RDB is loaded once with that file
off, which is then switched on and written anew from what was loaded; the usual start finds all of it there.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from arcweb.backups.manifest import File

RAW = "restored.rdb"
#: The services of docker-compose.yml.
SERVICES = {"cache": "redis", "state": "redis-state"}
#: What is put aside before anything is put in its place.
ASIDE = "before-restore"
PLACE = f"""\
cd {{folder}}
mkdir {ASIDE}
for old in dump.rdb appendonlydir appendonly.aof; do [ ! -e $old ] || mv $old {ASIDE}/; done
mv {RAW} dump.rdb"""
#: For a shell with -e: it ends at the first command that fails, and the live files are still aside then.
WITH_AOF = f"""\
{PLACE}
unset REDISCLI_AUTH
ask="{{client}} -s $PWD/restore.sock"
{{server}} --port 0 --unixsocket $PWD/restore.sock --dir $PWD --save '' --appendonly no --daemonize yes
until $ask ping | grep -q PONG; do sleep 1; done
$ask info keyspace
$ask config set appendonly yes
while $ask info persistence | grep -Eq 'aof_rewrite_(in_progress|scheduled):1'; do sleep 1; done
$ask info persistence | grep -q aof_last_bgrewrite_status:ok
$ask shutdown nosave || true
while $ask ping > /dev/null 2>&1; do sleep 1; done
ls appendonlydir"""


@dataclass(frozen=True)
class Step:
    """A sentence and the commands that do it."""

    sentence: str
    commands: tuple[str, ...] = ()


def unpack(file: File) -> str:
    name = shlex.quote(file.name)
    if file.encryption:
        return f"age --decrypt -i IDENTITY_FILE {name} | zstd -d > {RAW}"
    return f"zstd -d < {name} > {RAW}"


def script(folder: str, *, aof: bool, product: str = "Redis") -> str:
    """What is run beside the stopped server's files, in a shell with -e, after restored.rdb was put there."""
    server, client = ("valkey-server", "valkey-cli") if product == "Valkey" else ("redis-server", "redis-cli")
    return (WITH_AOF if aof else PLACE).format(folder=folder, server=server, client=client)


def compose(file: File, role: str, *, aof: bool, keys: int | None = None) -> list[Step]:
    """For docker-compose.yml, in its folder. role: "cache" or "state". keys: what should be there."""
    service = SERVICES[role]
    inside = shlex.quote("\n" + script("/data", aof=aof) + "\n")
    return [
        Step("Unpack the copy.", (unpack(file),)),
        Step("Stop the server; it saves what it has.", (f"docker compose stop {service}",)),
        Step(
            "Put the copy beside its files.",
            (f"docker compose cp ./{RAW} {service}:/data/{RAW}", f"rm {RAW}"),
        ),
        Step(
            "Put the old files aside and the copy in their place"
            + (
                ": loaded once without the append-only file, which is then written anew. Started as usual "
                "now, the server would ignore the copy."
                if aof
                else "."
            ),
            (f"docker compose run --rm --no-deps {service} sh -euc {inside}",),
        ),
        Step("Start the server as usual.", (f"docker compose start {service}",)),
        Step(
            f"Look at what it holds{_expected(keys)}.",
            (f"docker compose exec {service} redis-cli info keyspace",),
        ),
        Step(
            f"When all is well, remove the files that were put aside (/data/{ASIDE}).",
            (f"docker compose exec {service} rm -r /data/{ASIDE}",),
        ),
    ]


def by_hand(file: File, *, aof: bool, product: str = "Redis", keys: int | None = None) -> list[Step]:
    """For any other server whose folder can be reached."""
    client = "valkey-cli" if product == "Valkey" else "redis-cli"
    return [
        Step("Unpack the copy.", (unpack(file),)),
        Step(
            "Ask the server where its files are, and whether it keeps an append-only file.",
            (
                f"{client} CONFIG GET dir",
                f"{client} CONFIG GET dbfilename",
                f"{client} CONFIG GET appendonly",
            ),
        ),
        Step("Stop it, so that nothing starts it again (systemctl stop …).", (f"{client} SHUTDOWN SAVE",)),
        Step(
            f"As the server's account, with {RAW} moved into that folder, put the old files aside and the "
            "copy in their place"
            + (", loaded once without the append-only file, which is then written anew." if aof else "."),
            (f"sh -euc {shlex.quote(chr(10) + script('DIR', aof=aof, product=product) + chr(10))}",),
        ),
        Step(f"Start it as usual, and look at what it holds{_expected(keys)}.", (f"{client} INFO keyspace",)),
        Step(f"When all is well, remove DIR/{ASIDE}."),
    ]


def commands(file: File, role: str, *, aof: bool) -> list[str]:
    """The lines of a manifest: for compose, which is where servers have no page that does it."""
    lines = ["# In the folder of docker-compose.yml; `age` and `zstd` are programs of those names."]
    return [*lines, *_lines(compose(file, role, aof=aof))]


def _lines(steps: Sequence[Step]) -> list[str]:
    return [line for step in steps for line in (f"# {step.sentence}", *step.commands)]


def _expected(keys: int | None) -> str:
    return "" if keys is None else f": {keys:,} keys, without those past their time"
