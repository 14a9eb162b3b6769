"""The servers themselves: what each can do, its figures, its settings, and what it would evict."""
