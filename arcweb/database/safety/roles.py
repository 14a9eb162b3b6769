"""Who may do what beyond tables, and how passwords are kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from django.utils import timezone

from arcweb.database.findings import Finding
from arcweb.database.safety.rows import rows_of
from arcweb.database.safety.unknown import Unknown
from arcweb.database.standing import quoted, standing

#: The role that initdb makes; it cannot lose its attributes.
BOOTSTRAP = 10
#: Predefined roles whose members reach the server's files and programs, which is as much as a superuser.
REACHING = ("pg_execute_server_program", "pg_read_server_files", "pg_write_server_files")
ROLES = """
    SELECT oid::bigint AS id, rolname AS name, rolcanlogin AS login, rolsuper AS superuser,
           rolcreaterole AS createrole, rolcreatedb AS createdb, rolbypassrls AS bypassrls,
           rolreplication AS replication, rolvaliduntil AS valid_until,
           ARRAY(
               SELECT granted.rolname::text FROM pg_auth_members AS member
               JOIN pg_roles AS granted ON granted.oid = member.roleid
               WHERE member.member = role.oid ORDER BY 1
           ) AS member_of
    FROM pg_roles AS role
    WHERE rolname NOT LIKE 'pg\\_%'
    ORDER BY rolsuper DESC, rolcanlogin DESC, rolname
    LIMIT 500
"""
MAY_SEE = """
    SELECT has_column_privilege('pg_authid', 'rolpassword', 'SELECT')
               AND has_column_privilege('pg_authid', 'rolname', 'SELECT') AS passwords,
           current_setting('password_encryption') AS encryption
"""
# Only which kind it is: the hash itself never leaves the server.
PASSWORDS = """
    SELECT rolname AS name,
           CASE WHEN rolpassword IS NULL THEN 'none'
                WHEN rolpassword LIKE 'SCRAM-SHA-256$%' THEN 'scram-sha-256'
                WHEN rolpassword LIKE 'md5%' THEN 'md5'
                ELSE 'unknown' END AS kind
    FROM pg_authid WHERE rolname NOT LIKE 'pg\\_%'
"""
#: What a superuser types where the application's role may not look, as it should not.
TYPE_PASSWORDS = "SELECT rolname FROM pg_authid WHERE rolcanlogin AND rolpassword NOT LIKE 'SCRAM-SHA-256$%';"


@dataclass(frozen=True)
class Role:
    id: int
    name: str
    login: bool
    superuser: bool
    createrole: bool
    createdb: bool
    bypassrls: bool
    replication: bool
    valid_until: datetime | None
    member_of: list[str] = field(default_factory=list)
    password: str = ""  #: "scram-sha-256", "md5", "none"; "" is not known

    @property
    def attributes(self) -> list[str]:
        """What it may beyond its grants, in the server's words."""
        named = {
            "SUPERUSER": self.superuser,
            "CREATEROLE": self.createrole,
            "CREATEDB": self.createdb,
            "BYPASSRLS": self.bypassrls,
            "REPLICATION": self.replication,
        }
        return [name for name, has in named.items() if has]

    @property
    def expired(self) -> bool:
        return self.valid_until is not None and self.valid_until < timezone.now()


@dataclass(frozen=True)
class Password:
    name: str
    kind: str


@dataclass(frozen=True)
class Seen:
    passwords: bool
    encryption: str


@dataclass(frozen=True)
class Roles:
    roles: list[Role]
    passwords_known: bool
    findings: list[Finding]


def roles() -> Roles:
    """At most three queries."""
    seen = rows_of(Seen, MAY_SEE)[0]
    kinds = {row.name: row.kind for row in rows_of(Password, PASSWORDS)} if seen.passwords else {}
    found = [Role(**{**vars(role), "password": kinds.get(role.name, "")}) for role in rows_of(Role, ROLES)]
    findings = [
        *_attributes(found),
        *_passwords(found, seen),
    ]
    return Roles(found, seen.passwords, findings)


def _attributes(found: list[Role]) -> list[Finding]:
    own = standing().role
    findings = []
    for role in found:
        name = quoted(role.name)
        if role.superuser and role.name == own:
            findings.append(
                Finding(
                    "bad",
                    f"ARC Web itself works as the superuser {role.name}: a fault in it reaches every "
                    "database, file and program of the server. Give it a role of its own (POSTGRES_USER), as "
                    "docker-compose.yml does.",
                )
            )
        elif role.superuser and role.id != BOOTSTRAP and role.login:
            findings.append(
                Finding(
                    "warn",
                    f"The role {role.name} is a superuser and may log in: no grant or trigger stops it.",
                    statement=f"ALTER ROLE {name} NOSUPERUSER;",
                    why="The role of initdb is the only superuser that a server needs.",
                )
            )
        if role.superuser:
            continue
        if role.createrole:
            findings.append(
                Finding(
                    "warn",
                    f"The role {role.name} may create roles, and give them what it has itself.",
                    statement=f"ALTER ROLE {name} NOCREATEROLE;",
                    why="Before PostgreSQL 16 it may also change every role that is no superuser.",
                )
            )
        if role.bypassrls:
            findings.append(
                Finding(
                    "warn",
                    f"Row security does not hold for the role {role.name}.",
                    statement=f"ALTER ROLE {name} NOBYPASSRLS;",
                )
            )
        if role.replication and role.login:
            findings.append(
                Finding(
                    "idle",
                    f"The role {role.name} may copy the whole cluster (pg_basebackup, standbys). Where no "
                    "standby or backup uses it:",
                    statement=f"ALTER ROLE {name} NOREPLICATION;",
                )
            )
        findings.extend(
            Finding(
                "warn",
                f"The role {role.name} is a member of {granted}: it reaches files or programs of the server, "
                "which is as much as a superuser.",
                statement=f"REVOKE {granted} FROM {name};",
            )
            for granted in role.member_of
            if granted in REACHING
        )
    return findings


def _passwords(found: list[Role], seen: Seen) -> list[Finding]:
    findings = [_password(role) for role in found if role.login and role.password in ("md5", "unknown")]
    if seen.encryption != "scram-sha-256":
        findings.append(
            Finding(
                "warn",
                f"New passwords are kept as {seen.encryption} (password_encryption), not as scram-sha-256.",
                statement="ALTER SYSTEM SET password_encryption = 'scram-sha-256'; SELECT pg_reload_conf();",
                why="scram-sha-256 is PostgreSQL's default since version 14.",
            )
        )
    if not seen.passwords:
        findings.append(
            Unknown(
                "unknown",
                f"Which passwords are not kept as scram-sha-256 is not known: {standing().role} may not read "
                "pg_authid, and should not, for it holds the hashes. A superuser sees it with",
                statement=TYPE_PASSWORDS,
                why=f"GRANT SELECT (rolname, rolpassword) ON pg_authid TO {quoted(standing().role)}; would "
                "show it here, and the hashes to whoever gets at that role.",
                thing="how passwords are kept",
            )
        )
    return findings


def _password(role: Role) -> Finding:
    statement = f"\\password {quoted(role.name)}"
    if role.password == "unknown":  # noqa: S105
        return Unknown(
            "unknown",
            f"How the password of the role {role.name} is kept is not known: neither as scram-sha-256 nor as "
            "md5. Set it anew, in psql, where it is not logged:",
            statement=statement,
            thing=f"how the password of {role.name} is kept",
        )
    return Finding(
        "warn",
        f"The password of the role {role.name} is kept as md5, not as scram-sha-256: who reads its hash can "
        "log in. Set it anew, in psql, where it is not logged:",
        statement=statement,
        why="MD5 passwords are deprecated since PostgreSQL 18.",
    )
