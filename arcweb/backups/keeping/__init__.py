"""What is kept and what goes: looks at the catalogue, deletions, pins, and their pages."""
