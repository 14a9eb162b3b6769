"""A browser in words, out of what it says of itself."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=2048)
def in_words(user_agent: str) -> str:
    """ "Firefox 128 on Linux"; what is not recognised is "unknown browser". Anybody can claim anything."""
    from ua_parser import parse_os, parse_user_agent  # a third of a second for its patterns, once

    browser, system = parse_user_agent(user_agent), parse_os(user_agent)
    name = " ".join(filter(None, [browser.family, browser.major])) if browser else "unknown browser"
    return f"{name} on {system.family}" if system else name
