"""What the statements of this database cost, by pg_stat_statements; their plans; indexes that they lack."""
