"""Copies on their way to people and from them: one-time links, ranges, files from outside."""
