"""What a table and an index are called."""

from __future__ import annotations

from arcweb.database.standing import quoted


class Named:
    """Of what has a schema and a name of its own."""

    schema: str
    name: str

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def quoted(self) -> str:
        """For a statement that a person types."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


class OfTable:
    """Of what belongs to a table, in the schema of that."""

    schema: str
    table_name: str

    @property
    def table_full_name(self) -> str:
        return f"{self.schema}.{self.table_name}"

    @property
    def table_quoted(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.table_name)}"
