"""manage.py generate_secrets: new secrets as lines for .env.

`make generate-secrets` runs this file itself: it must work while settings still miss these very secrets.
"""

from __future__ import annotations

import secrets
from typing import Any

from django.core.management.base import BaseCommand

#: Name and random bytes. Django asks for a key of 50 characters or more; the others enter addresses and
#: configuration files, where the letters, digits, - and _ of token_urlsafe need no quoting.
SECRETS = {
    "POSTGRES_PASSWORD": 32,
    "REDIS_PASSWORD": 32,
    "ARC_SECRET_KEY": 48,
    "POSTGRES_SUPERUSER_PASSWORD": 32,
    "ARC_REPLICATION_PASSWORD": 32,
}


class Command(BaseCommand):
    help = "Prints a new value for each secret of .env.example. Add them with: make generate-secrets >> .env"
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(new_secrets())


def new_secrets() -> str:
    """A line NAME=value for each of SECRETS."""
    return "\n".join(f"{name}={secrets.token_urlsafe(size)}" for name, size in SECRETS.items())


if __name__ == "__main__":
    print(new_secrets())
