"""manage.py generate_secrets: new secrets as lines for .env."""

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
        for name, size in SECRETS.items():
            self.stdout.write(f"{name}={secrets.token_urlsafe(size)}")
