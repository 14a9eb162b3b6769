"""Physical backups: base backups, the archive of the write-ahead log, and the way back to a chosen time."""
