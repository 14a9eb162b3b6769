"""What this role cannot know of safety: never counted as well, and named in the verdict."""

from __future__ import annotations

from dataclasses import dataclass

from arcweb.database.findings import Finding


@dataclass(frozen=True)
class Unknown(Finding):
    """thing: what is not known, for "Not known: …". `why`, or the sentence, has the grant that shows it."""

    thing: str = ""
