"""Named queries of the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.db import connection, models
from django.db.models import BooleanField, Case, Q, Value, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

if TYPE_CHECKING:
    from uuid import UUID

    from arcweb.backups.manifest import Manifest
    from arcweb.backups.models import Backup


#: The id of the installation whose database this is, made of the moment at which its first table was made:
#: a restore, to whatever server, brings that moment along, and nobody has to write an id into old copies.
INSTALLATION = """
    SELECT coalesce(left(encode(sha256(convert_to(made.at, 'UTF8')), 'hex'), 32), '')
    FROM (SELECT extract(epoch FROM min(applied))::text AS at FROM django_migrations
          WHERE (app, name) = ('contenttypes', '0001_initial')) AS made
"""
_OURS = Q(owner="") | Q(owner=RawSQL(f"({INSTALLATION})", [], output_field=models.TextField()))  # noqa: S611


def installation() -> str:
    """The id of this installation, 32 hexadecimal digits; "" in a database without its tables. One query."""
    with connection.cursor() as cursor:
        cursor.execute(INSTALLATION)
        row = cursor.fetchone()
    return str(row[0]) if row else ""


class BackupQuerySet(models.QuerySet["Backup"]):
    def present(self) -> Self:
        """Copies whose files should stand somewhere, good or bad."""
        return self.filter(state__in=["written", "hashed", "verified", "bad"])

    def ours(self) -> Self:
        """Copies of this installation: no others are restore points of it, and retention sees no others."""
        return self.filter(_OURS)

    def marked(self) -> Self:
        """With `elsewhere` on each row, which is else a query of each."""
        known = Case(When(_OURS, then=Value(False)), default=Value(True), output_field=BooleanField())
        return self.annotate(elsewhere=known)

    def proven(self) -> Self:
        """Copies that count: restored and compared, and not found bad since; newest restore point first."""
        return self.filter(state="verified").order_by("-taken_at")

    def listed(self) -> Self:
        """What people are shown: everything but copies that are deleted without a rest."""
        return self.exclude(state="deleted", delete_trouble="")

    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-id")

    def fail(self, pk: UUID, trouble: str) -> bool:
        """A copy that was being taken or read back is not, and the row says why; False: it ended before."""
        being_taken = self.filter(pk=pk, state__in=["running", "written"])
        return bool(
            being_taken.update(
                state="failed",
                file="",
                local=False,
                trouble=trouble.replace("\x00", ""),
                finished_at=Now(),
            )
        )

    def unprove_children(self, pk: UUID, trouble: str) -> int:
        """Incremental copies that build upon that one, directly or not, are proven no longer; how many."""
        known, parents = {pk}, {pk}
        while parents:
            children = self.filter(parent__in=parents, format="incremental").values_list("pk", flat=True)
            parents = set(children) - known  # manifests from outside may go in a circle
            known |= parents
        below = self.filter(pk__in=known - {pk}, state="verified")
        return below.update(state="hashed", trouble=trouble)

    def of_job(self, job: UUID) -> Backup | None:
        """The copy that this job took, if it took one that is not bad."""
        return self.present().exclude(state="bad").filter(job=job).first()

    @staticmethod
    def fields(manifest: Manifest, manifest_sha256: str) -> dict[str, Any]:
        """The fields of a row that the copy's manifest says."""
        return {
            "file": manifest.file.name,
            "bytes": manifest.file.bytes,
            "raw_bytes": manifest.file.raw_bytes,
            "sha256": manifest.file.sha256,
            "manifest_sha256": manifest_sha256,
            "encrypted": bool(manifest.file.encryption),
            "manifest": manifest.to_json(),
            "taken_at": manifest.taken_at,
        }
