"""Agents that must stay erased whatever backup is restored."""

from __future__ import annotations

from typing import Any

import psycopg

from arcweb.backups.erasures import register_eraser


def erase_agent(connection: psycopg.Connection[Any], what: dict[str, Any]) -> int:
    """The agent with that id; its documents and memories go by ON DELETE CASCADE."""
    return connection.execute("DELETE FROM agents.agents WHERE id = %s::uuid", [what["id"]]).rowcount


register_eraser("agent", "an agent with its memories", erase_agent)
