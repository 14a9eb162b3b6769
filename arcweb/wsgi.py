"""The WSGI application that gunicorn serves."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.core.wsgi import get_wsgi_application

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "arcweb.settings")
_django = get_wsgi_application()

from arcweb import prober  # noqa: E402 - needs Django's settings
from arcweb.backups.restore import starting  # noqa: E402
from arcweb.events.alerts import watchman  # noqa: E402
from arcweb.postgres import lag  # noqa: E402

starting.settle()


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    prober.keep_running()
    watchman.keep_running()
    lag.keep_running()
    return _django(environ, start_response)
