"""manage.py demo"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from memories import demo


class Command(BaseCommand):
    help = "Makes a few agents, one of which knows this handbook. Does nothing when there are agents."

    def handle(self, *args: Any, **options: Any) -> None:
        stored = demo.create()
        if stored is None:
            self.stdout.write("There are agents already; nothing was touched.")
            return
        self.stdout.write(
            f"Made the agent {demo.GUIDE} with {len(stored)} documents, which are being embedded, "
            f"and {len(demo.OTHERS)} more agents."
        )
