"""The samples of the PostgreSQL rooms: each area registers its own."""

from arcweb.database.overview import samplers as overview_samplers

__all__ = ["overview_samplers"]
