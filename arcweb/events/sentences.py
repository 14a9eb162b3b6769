"""What an event says to a person. Pure."""

from __future__ import annotations

import re
from typing import Any

#: kind → what the actor did; {object} is the object's name or id.
_sentences = {
    "auth.login": "logged in",
    "auth.logout": "logged out",
    "auth.login_failed": "failed to log in as {object}",
    "auth.locked_out": "failed so often that logins are refused for {seconds} s: {object}",
    "auth.unlocked": "let {object} try to log in again",
    "access.refused": "was refused {path}",
    "session.revoked": "revoked {sessions} session(s) of {object}",
    "session.ended": "ended {sessions} session(s) of {object} ({reason})",
    "events.exported": "exported {events} event(s) as {format}",
    "memory.embed_again": "had {memories} failed memory(s) embedded again",
    "limit.reset": "reset the rate limit {limit} of an identity",
    "lock.taken_away": "took the lock {object} from its holder",
    "leaderboard.set": "set a score of {object} to {score}",
    "leaderboard.incremented": "added {by} to a score of {object}",
    "leaderboard.removed": "removed a member from {object}",
    "redis_session.removed": "deleted another service's session from Redis ({role} role)",
    "alert.fired": "raised the alert {object}: {reading} ({limit})",
    "alert.ended": "gave the all-clear for {object} after {lasted}; the worst was {worst}",
    "alert.silenced": "silenced the alert {object} for {lasting}",
    "alert.unsilenced": "ended the silence of the alert {object}",
    "alert.tested": "sent a test message to {channels} channel(s)",
    "alert.undelivered": "gave up telling {channel} of {object} after {attempts} tries",
    "alert_rule.changed": "changed the rule {object}: {before} became {after}",
    "backup.taken": "took the backup {object}: {bytes} bytes in {seconds} s",
    "backup.failed": "failed to take a backup of {source}",
    "backup.verified": "proved the backup {object} by restoring it, in {seconds} s",
    "backup.bad": "found the backup {object} bad: it is kept, and counts no longer",
    "demo.created": "made the demonstration: {agents} agents, {documents} documents",
}
_VERBS = {"added", "changed", "deleted"}


def describe(kind: str, sentence: str) -> None:
    """Teach the timeline a kind of event: describe("job.retried", "started {object} again")."""
    _sentences[kind] = sentence


def kinds() -> list[str]:
    """The kinds that have a sentence of their own, in alphabetical order."""
    return sorted(_sentences)


def is_described(kind: str) -> bool:
    """Whether a kind has a sentence: its own, or that of additions, changes and deletions."""
    thing, _, verb = kind.rpartition(".")
    return kind in _sentences or bool(thing and verb in _VERBS)


def sentence(kind: str, name: str, data: Any) -> str:
    """What happened, to stand behind the actor's name; a kind that nobody described is shown as it is."""
    if known := _sentences.get(kind):
        facts = data if isinstance(data, dict) else {}
        said = re.sub(r"\{(?!object\})(\w+)\}", lambda match: str(facts.get(match[1], "?")), known)
        return said.replace("{object}", name or "an unknown name")
    thing, _, verb = kind.rpartition(".")
    if thing and verb in _VERBS:
        text = f"{verb} {thing.replace('_', ' ')} {name}".rstrip()
        fields = data.get("fields") if isinstance(data, dict) else None
        return f"{text}: {', '.join(map(str, fields))}" if fields and isinstance(fields, list) else text
    return f"{kind} {name}".rstrip()
