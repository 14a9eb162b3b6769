"""Typed readers for environment variables that fail with a sentence instead of a traceback.

Pure: no Django beyond its exception. Used by `arcweb.settings` alone, the only module that reads
the environment.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from environs import EnvError, FileAwareEnv

from arcweb.redis_urls import password_of

#: What example files, tutorials and images ship with. None of them is a secret.
DEFAULT_SECRETS = frozenset(
    {
        "",
        "admin",
        "arc",
        "change-me",
        "changeme",
        "default",
        "example",
        "password",
        "postgres",
        "redis",
        "secret",
    }
)
MINIMUM_SECRET_LENGTH = 12


class Environment:
    """Reads variables, each from NAME or from the file that NAME_FILE points to (containers' secrets)."""

    def __init__(self, dotenv: Path | None) -> None:
        self._env = FileAwareEnv(eager=True)
        if dotenv is not None and dotenv.is_file():
            self._env.read_env(str(dotenv), recurse=False)

    def _read(self, kind: str, name: str, default: Any, example: str) -> Any:
        try:
            return getattr(self._env, kind)(name, default)
        except (EnvError, ValueError) as error:
            raise ImproperlyConfigured(
                f"the variable {name} cannot be used ({error}). A good value is {name}={example}."
            ) from error

    def text(self, name: str, default: str = "", *, choices: Iterable[str] | None = None) -> str:
        """A string, stripped; with `choices`, one of them."""
        value: str = self._read("str", name, default, default or "text").strip()
        allowed = sorted(choices) if choices is not None else None
        if allowed is not None and value not in allowed:
            raise ImproperlyConfigured(f"{name} is {value!r}; it must be one of {', '.join(allowed)}.")
        return value

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        value: int = self._read("int", name, default, str(default))
        if not low <= value <= high:
            raise ImproperlyConfigured(
                f"{name} is {value}; it must be from {low} to {high}. A good value is {name}={default}."
            )
        return value

    def number(self, name: str, default: float, *, low: float, high: float) -> float:
        """A number from low to high, both included."""
        value: float = self._read("float", name, default, str(default))
        if not low <= value <= high:
            raise ImproperlyConfigured(
                f"{name} is {value}; it must be from {low} to {high}. A good value is {name}={default}."
            )
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """true or false, in the usual spellings."""
        return bool(self._read("bool", name, default, "true"))

    def words(self, name: str, default: list[str]) -> list[str]:
        """A comma-separated list, empty items dropped."""
        value: list[str] = self._read("list", name, default, ",".join(default) or "a,b")
        return [item.strip() for item in value if item.strip()]

    def networks(self, name: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        """A comma-separated list of addresses and networks: 127.0.0.1, 10.0.0.0/8, ::1."""
        found = []
        for word in self.words(name, []):
            try:
                found.append(ipaddress.ip_network(word, strict=False))
            except ValueError as error:
                raise ImproperlyConfigured(
                    f"{name} names {word!r}, which is no address and no network. "
                    f"A good value is {name}=127.0.0.1,10.0.0.0/8."
                ) from error
        return found

    def secret(self, name: str) -> str:
        """A secret that is set, long enough and nobody's default.

        Raises ImproperlyConfigured naming the variable and how to make one; the value is never shown.
        """
        value = self.text(name)
        how = f"`make generate-secrets` prints one for .env; {name}_FILE may point to a file that holds it."
        if not value:
            raise ImproperlyConfigured(f"{name} is missing. {how}")
        _refuse_no_secret(name, value, how)
        return value

    def redis_url(self, name: str, *, judged: bool) -> str:
        """An address of Redis, "" when it is not set.

        judged: a password in it must be as good as `secret` wants one. An address without any is told by a
        system check: its server may be closed in another way.
        """
        value = self.text(name)
        if judged and (password := password_of(value)):
            how = (
                f"`make generate-secrets` prints one; {name}_FILE may point to a file that holds the address."
            )
            _refuse_no_secret(f"the password in {name}", password, how)
        return value


def _refuse_no_secret(what: str, value: str, how: str) -> None:
    """Raises ImproperlyConfigured where `value` is nobody's secret; it is never shown."""
    if value.lower() in DEFAULT_SECRETS or value.startswith("<") or len(value) < MINIMUM_SECRET_LENGTH:
        raise ImproperlyConfigured(
            f"{what} is a default or shorter than {MINIMUM_SECRET_LENGTH} characters, "
            f"which is no secret. {how}"
        )
