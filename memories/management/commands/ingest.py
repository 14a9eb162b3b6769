"""manage.py ingest --agent NAME [--create] FILE…"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from agents.lookup import AgentLookupError, find_agent
from agents.models import Agent
from arcweb.jobs import ledger
from arcweb.jobs.models import Job
from memories import ingest, uploads
from memories.providers import load_model_here_if_alone

#: Seconds after which a job that no worker took is run by this command itself.
PATIENCE = 10


class Command(BaseCommand):
    help = "Ingests text and Markdown files into an agent's memory and waits until they can be searched."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--agent", required=True, help="the agent's name or id")
        parser.add_argument(
            "--create", action="store_true", help="make the agent when there is none of that name"
        )
        parser.add_argument(
            "--type", default="assistant", help="type of an agent that is made (default: assistant)"
        )
        parser.add_argument("files", nargs="+", metavar="FILE")

    def handle(self, *args: Any, **options: Any) -> None:
        # Every file is read and judged first: a mistake in the last one leaves nothing half done.
        texts = [self._read(Path(file)) for file in options["files"]]
        load_model_here_if_alone()
        agent = self._agent(options["agent"], options["type"] if options["create"] else None)
        failed = 0
        for upload in texts:
            stored = ingest.store(agent, upload)
            if not stored.created:
                self.stdout.write(
                    f"{upload.name}: the agent has this text already, as {stored.document.name}"
                )
            if stored.job:
                failed += not self._wait(stored.job, upload.name)
        if failed:
            raise CommandError(
                f"{failed} of {len(texts)} documents were not ingested; the reasons are above."
            )

    def _read(self, path: Path) -> uploads.TextUpload:
        limit = settings.ARC_MAX_UPLOAD_MB
        try:
            if path.exists() and not path.is_file():
                raise CommandError(f"{path} is no regular file; name the file itself.")
            uploads.check_size(path.name, path.stat().st_size, limit)
            return uploads.from_bytes(path.name, path.read_bytes(), limit_mb=limit)
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
        except uploads.UploadError as error:
            raise CommandError(str(error)) from error

    def _agent(self, name: str, create_type: str | None) -> Agent:
        if not name.strip() or len(name) > 255 or not name.isprintable():
            raise CommandError("An agent's name has 1 to 255 characters that can be printed.")
        try:
            return find_agent(name)
        except AgentLookupError as error:
            if create_type is None or Agent.objects.named(name).exists():
                hint = " --create makes one." if create_type is None else ""
                raise CommandError(f"{error}{hint}") from error
        agent = Agent.objects.create(name=name, type=create_type[:50] or "assistant")
        self.stdout.write(f"made the agent {agent.name} ({agent.pk})")
        return agent

    def _wait(self, job: Job, name: str) -> bool:
        """Shows the job's progress until it ends; whether it succeeded."""
        shown, told, live = "", "", sys.stderr.isatty()
        waiting_since = time.monotonic()
        while True:
            job.refresh_from_db()
            if not job.is_active:
                break
            due = job.next_retry_at is None or job.next_retry_at <= timezone.now()
            if job.state != Job.State.QUEUED or not due:
                waiting_since = time.monotonic()
            elif time.monotonic() - waiting_since > PATIENCE:
                self.stderr.write(f"{name}: no worker took the job; it is run here")
                ledger.run(job.pk)
                continue
            if job.last_error and job.last_error != told:
                self.stderr.write(f"{name}: {job.last_error} {job.standing}".rstrip())
                told = job.last_error
            line = f"{name}: {job.done} of {job.total or '?'} chunks {job.message}".rstrip()
            if live and line != shown:
                self.stderr.write(f"\r\x1b[K{line}", ending="")
                self.stderr.flush()
                shown = line
            time.sleep(0.2)
        if live and shown:
            self.stderr.write("\r\x1b[K", ending="")
        if job.state != Job.State.SUCCEEDED:
            self.stderr.write(f"{name}: {job.state}. {job.last_error}")
            return False
        counts = job.result or {}
        self.stdout.write(
            f"{name}: {counts.get('chunks', 0)} chunks, {counts.get('embedded', 0)} embedded, "
            f"{counts.get('reused', 0)} of them known before"
        )
        return True
