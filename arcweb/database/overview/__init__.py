"""How the PostgreSQL server stands: the verdict of all areas, its figures, and their courses over time."""
