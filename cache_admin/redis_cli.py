"""How redis-cli is told what a Redis URL says, the password by environment only. Pure."""

from __future__ import annotations

import shutil

from redis.connection import parse_url

NAMES = ("redis-cli", "valkey-cli")


def find() -> str | None:
    """The program's path, when this machine has it."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def arguments(url: str) -> tuple[list[str], dict[str, str]]:
    """Its options and the variables to add to its environment, for redis-py's URL.

    The password is never an option, because every user of the machine can read those.
    """
    target = parse_url(url)
    options = (
        ["-s", target["path"]]
        if "path" in target
        else ["-h", target.get("host", "localhost"), "-p", str(target.get("port", 6379))]
    )
    options += ["-n", str(target.get("db", 0))]
    if url.startswith("rediss:"):
        options.append("--tls")
        if "ssl_ca_certs" in target:
            options += ["--cacert", target["ssl_ca_certs"]]
    if "username" in target:
        options += ["--user", target["username"]]
    password = target.get("password")
    return options, {"REDISCLI_AUTH": password, "VALKEYCLI_AUTH": password} if password else {}
