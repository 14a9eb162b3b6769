"""The functions of this project's migrations, by digest: what a file from outside may bring along. Pure.

A migration that changes one adds its new digest and keeps the old: older copies hold the older function. The
test tests/backups/proving/test_expressions.py prints what is missing.
"""

from __future__ import annotations

#: (schema, name, identity arguments) → digests, oldest first (arcweb.backups.proving.expressions.FUNCTIONS).
DIGESTS: dict[tuple[str, str, str], tuple[str, ...]] = {
    ("agents", "touch_updated_at", ""): ("1529745508272c458a6cf67cafc2a723db0b11eefbc48d6232a5bfe9b59a65a9",),
    ("agents", "track_embedding", ""): ("42aea44e57822d0f01957fb9485150bf537391ca38f78b80d25822af752fc145",),
    ("events", "ensure_partitions", "months_ahead integer"): (
        "e05eedb2aa12a32807d321c86e7b2afaaf34df1e676c493feb576b8bc9f21f16",
    ),
    ("events", "make_partition", "month date"): (
        "3269dc7634fb6942a836847446de9d393b17a3dd0c7a502524ce47c7126cb2a2",
    ),
    ("events", "refuse_change", ""): ("b3b42c3fcb3aa995b4d4b97ff654f72372853e3eea201cc715e2333fced60cfb",),
    ("events", "split_default", "month date"): (
        "4f324582fcca28ebf9d91dd339bbed781d6bec71cac882f437fb143d99e429ca",
    ),
}
