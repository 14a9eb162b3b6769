"""manage.py ensure_admin"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from arcweb.accounts import first_admin


class Command(BaseCommand):
    help = (
        "Make the superuser admin with a generated password, unless there is a superuser. Shows no password."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.ARC_LAYOUT.admin_password_file
        try:
            result = first_admin.ensure(path)
        except first_admin.NameTakenError as error:
            raise CommandError(
                f"There is no superuser, but a user named {error}; "
                "`manage.py createsuperuser` makes one of another name."
            ) from error
        except OSError as error:
            raise CommandError(
                f"The password cannot be written to {path} ({error.strerror}), so no user was made. "
                "Make the folder writable, or set ARC_DATA_DIR to one that is."
            ) from error
        if result.created:
            self.stdout.write(f"Made the superuser {result.user}; the password is in {path}.")
        elif result.user == first_admin.NAME and result.file_exists:
            self.stdout.write(f"The superuser {result.user} exists; the first password is in {path}.")
        else:
            self.stdout.write(
                f"The superuser {result.user} exists, and {path} is not there or not theirs. If the password "
                f"is lost, `manage.py changepassword {result.user}` sets a new one."
            )
