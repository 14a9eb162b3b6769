"""Roles and safety: who may do what, how they come in, and what of that is unsafe. Reads only."""
