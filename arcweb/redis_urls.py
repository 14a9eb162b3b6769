"""The spellings of a Redis address that the libraries want. Pure."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlencode, urlsplit


def broker_url(url: str) -> str:
    """Celery's spelling of redis-py's URL.

    Only Unix sockets differ: unix://:pw@/path?db=1 → redis+socket://:pw@/path?virtual_host=1.
    """
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    query = dict(parse_qsl(parts.query))
    query["virtual_host"] = query.pop("db", "0")
    # Not urlunsplit: it drops the // when there is no password before the path.
    return f"redis+socket://{parts.netloc}{parts.path}?{urlencode(query)}"


def password_of(url: str) -> str:
    """The password that redis-py sends: before the @, else behind ?password=; "" for none."""
    parts = urlsplit(url)
    return unquote(parts.password or "") or dict(parse_qsl(parts.query)).get("password", "")
