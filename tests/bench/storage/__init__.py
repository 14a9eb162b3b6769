"""How agents.memories should store its vectors: see `__main__`."""
