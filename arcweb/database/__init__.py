"""The PostgreSQL control room: what is wrong, since when, and what to type.

One package for each area; `parts` (a time limit for each panel), `standing` (what server this is and what
may be seen of it) and `findings` (what an area has to say to the verdict) are shared.
"""
