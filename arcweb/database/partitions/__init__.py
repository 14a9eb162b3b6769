"""Partitioned tables: the next made ahead, old months archived and dropped, strays put in order."""
