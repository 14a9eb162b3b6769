"""The pages of the PostgreSQL rooms: each area registers its own."""
