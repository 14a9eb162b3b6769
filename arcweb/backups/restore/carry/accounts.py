"""Who may enter, and as what: as it is in live now. A restore brings nobody's access back.

People are the same by their number and the moment they joined, else by their name. Somebody whom live knows
no longer was deleted there, and comes back deactivated; where live is of another descent (a new database
after the loss of the old one), people of a copy that this installation made stay as they are.
"""

from __future__ import annotations

from psycopg import sql

from arcweb.backups.restore.carry.copying import Both, names

MATCH = """
CREATE TEMPORARY TABLE matched ON COMMIT DROP AS
SELECT carried.id AS live_id, coalesce(same.id, namesake.id) AS new_id
FROM pg_temp.carried_users AS carried
LEFT JOIN auth_user AS same ON same.id = carried.id AND same.date_joined = carried.date_joined
LEFT JOIN auth_user AS namesake ON namesake.username = carried.username AND NOT EXISTS (
    SELECT FROM pg_temp.carried_users AS other
    WHERE other.id = namesake.id AND other.date_joined = namesake.date_joined
)
"""
#: In two steps: within one, two people that exchanged their names would collide.
FREE_NAMES = """
UPDATE auth_user SET username = left('arc-' || md5(random()::text || auth_user.id), 150)
FROM pg_temp.matched, pg_temp.carried_users AS carried
WHERE auth_user.id = matched.new_id AND carried.id = matched.live_id
  AND auth_user.username <> carried.username
"""
#: Somebody deleted live comes back with the copy; the name may have gone to another since.
FREE_NAMES_OF_THE_DELETED = """
UPDATE auth_user SET username = left(username, 120) || '-deleted-' || left(md5(random()::text || id), 8)
WHERE NOT EXISTS (SELECT FROM pg_temp.matched WHERE new_id = auth_user.id)
  AND EXISTS (SELECT FROM pg_temp.carried_users AS carried WHERE carried.username = auth_user.username)
"""
NUMBER = """
UPDATE pg_temp.matched SET new_id = CASE
    WHEN EXISTS (SELECT FROM auth_user WHERE id = live_id)
    THEN nextval(pg_get_serial_sequence('auth_user', 'id')) ELSE live_id END
WHERE new_id IS NULL
RETURNING live_id
"""
DEACTIVATE = """
UPDATE auth_user SET is_active = false
WHERE is_active AND NOT EXISTS (SELECT FROM pg_temp.matched WHERE new_id = auth_user.id)
"""
GROUPS = """
INSERT INTO auth_group (name) SELECT name FROM pg_temp.carried_groups ON CONFLICT (name) DO NOTHING;
DELETE FROM auth_user_groups USING pg_temp.matched WHERE user_id = new_id;
INSERT INTO auth_user_groups (user_id, group_id)
SELECT matched.new_id, auth_group.id
FROM pg_temp.carried_memberships AS carried
JOIN pg_temp.matched ON matched.live_id = carried.user_id
JOIN pg_temp.carried_groups AS was ON was.id = carried.group_id
JOIN auth_group ON auth_group.name = was.name;
CREATE TEMPORARY TABLE permits ON COMMIT DROP AS
SELECT was.id AS live_id, auth_permission.id AS new_id
FROM pg_temp.carried_permissions AS was
JOIN pg_temp.carried_types AS kind ON kind.id = was.content_type_id
JOIN django_content_type ON (django_content_type.app_label, django_content_type.model)
    = (kind.app_label, kind.model)
JOIN auth_permission ON auth_permission.content_type_id = django_content_type.id
    AND auth_permission.codename = was.codename;
DELETE FROM auth_group_permissions USING auth_group, pg_temp.carried_groups AS was
WHERE auth_group.name = was.name AND group_id = auth_group.id;
INSERT INTO auth_group_permissions (group_id, permission_id)
SELECT auth_group.id, permits.new_id
FROM pg_temp.carried_group_permits AS carried
JOIN pg_temp.carried_groups AS was ON was.id = carried.group_id
JOIN auth_group ON auth_group.name = was.name
JOIN pg_temp.permits ON permits.live_id = carried.permission_id;
DELETE FROM auth_user_user_permissions USING pg_temp.matched WHERE user_id = new_id;
INSERT INTO auth_user_user_permissions (user_id, permission_id)
SELECT matched.new_id, permits.new_id
FROM pg_temp.carried_user_permits AS carried
JOIN pg_temp.matched ON matched.live_id = carried.user_id
JOIN pg_temp.permits ON permits.live_id = carried.permission_id
"""
#: A copy that Redis or a cookie still has lets nobody in without a live record (arcweb.accounts.records).
END_SESSIONS = """
UPDATE accounts_usersession SET ended_at = now(), ended_reason = 'restored' WHERE ended_at IS NULL;
DELETE FROM django_session
"""
CARRY_SESSIONS = """
INSERT INTO accounts_usersession
    (key_hash, user_id, created_at, last_seen_at, address, user_agent, ended_at, ended_reason, ended_by_id)
SELECT carried.key_hash, matched.new_id, carried.created_at, carried.last_seen_at, carried.address,
    carried.user_agent, coalesce(carried.ended_at, now()),
    CASE WHEN carried.ended_at IS NULL THEN 'restored' ELSE carried.ended_reason END, ender.new_id
FROM pg_temp.carried_sessions AS carried
JOIN pg_temp.matched ON matched.live_id = carried.user_id
LEFT JOIN pg_temp.matched AS ender ON ender.live_id = carried.ended_by_id
ON CONFLICT (key_hash) DO UPDATE SET
    user_id = EXCLUDED.user_id, last_seen_at = EXCLUDED.last_seen_at, ended_at = EXCLUDED.ended_at,
    ended_reason = EXCLUDED.ended_reason, ended_by_id = EXCLUDED.ended_by_id
"""
BROUGHT = {
    "carried_groups": "auth_group",
    "carried_memberships": "auth_user_groups",
    "carried_permissions": "auth_permission",
    "carried_types": "django_content_type",
    "carried_group_permits": "auth_group_permissions",
    "carried_user_permits": "auth_user_user_permissions",
}


def carry(both: Both, taken_at: str) -> list[str]:
    if not both.has("auth_user"):
        return []
    both.do("DROP TABLE IF EXISTS pg_temp.matched, pg_temp.permits")
    both.bring("auth_user", "carried_users")
    columns = [name for name in both.columns("auth_user") if name != "id"]
    both.do(MATCH)
    both.do(FREE_NAMES)
    both.do(FREE_NAMES_OF_THE_DELETED)
    renewed = both.do(
        sql.SQL(
            "UPDATE auth_user SET ({}) = ROW ({}) FROM pg_temp.matched, pg_temp.carried_users AS carried "
            "WHERE auth_user.id = matched.new_id AND carried.id = matched.live_id "
            "AND ({}) IS DISTINCT FROM ({})"
        ).format(
            names(columns), names(columns, "carried"), names(columns, "auth_user"), names(columns, "carried")
        )
    )
    both.move_on("auth_user")
    both.do("SELECT setval(pg_get_serial_sequence('auth_user', 'id'), greatest("
            "(SELECT max(id) FROM auth_user), (SELECT max(id) FROM pg_temp.carried_users), 1))")  # fmt: skip
    fresh = [number for (number,) in both.new.execute(NUMBER)]
    both.do(
        sql.SQL(
            "INSERT INTO auth_user (id, {}) SELECT matched.new_id, {} FROM pg_temp.carried_users AS carried "
            "JOIN pg_temp.matched ON matched.live_id = carried.id WHERE carried.id = ANY(%s)"
        ).format(names(columns), names(columns, "carried")),
        [fresh],
    )
    both.move_on("auth_user")
    gone = 0 if both.trusted and not both.related else both.do(DEACTIVATE)
    for into, table in BROUGHT.items():
        both.bring(table, into)
    for statement in GROUPS.split(";"):
        both.do(statement)
    ended = _sessions(both)
    return [
        (
            f"Accounts are as they were live: {renewed} brought up to date, {len(fresh)} newer than the copy "
            f"kept, {gone} whom live does not know deactivated."
        ),
        f"All sessions end ({ended} of them live until now).",
    ]


def end_sessions(both: Both) -> list[str]:
    """Those that the copy has; a sentence."""
    if not both.has("accounts_usersession"):
        return []
    for statement in END_SESSIONS.split(";"):
        both.do(statement)
    return ["All sessions of the copy end."]


def _sessions(both: Both) -> int:
    for statement in END_SESSIONS.split(";"):
        both.do(statement)
    if not both.has("accounts_usersession"):
        return 0
    both.bring("accounts_usersession", "carried_sessions")
    row = both.new.execute("SELECT count(*) FROM pg_temp.carried_sessions WHERE ended_at IS NULL").fetchone()
    both.do(CARRY_SESSIONS)
    if both.has("accounts_loginthrottle"):
        both.bring("accounts_loginthrottle", "carried_throttle")
        columns = names([name for name in both.columns("accounts_loginthrottle") if name != "id"])
        both.do("DELETE FROM accounts_loginthrottle")
        both.do(
            sql.SQL("INSERT INTO accounts_loginthrottle ({}) SELECT {} FROM pg_temp.carried_throttle").format(
                columns, columns
            )
        )
    return int(row[0]) if row else 0
