"""The long work of the PostgreSQL rooms: each area's module declares its handlers."""
