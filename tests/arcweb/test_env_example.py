""".env.example names every variable that settings and compose read, and no other."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(r"^#?([A-Z][A-Z0-9_]*)=")
SEED = ["POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"]


def names_in_example() -> list[str]:
    return [
        match[1] for line in (ROOT / ".env.example").read_text().splitlines() if (match := LINE.match(line))
    ]


def names_in_settings() -> set[str]:
    """The first argument of every env.method("NAME"…) and os.environ.get("NAME"…)."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / "arcweb/settings.py").read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("env.", "os.environ.")):
            assert isinstance(node.args[0], ast.Constant), ast.unparse(node)
            names.add(str(node.args[0].value))
    return names


def names_in_compose() -> set[str]:
    """What is replaced in the files, and what is passed on by name alone."""
    text = "".join((ROOT / name).read_text() for name in ("docker-compose.yml", "docker-compose.stack.yml"))
    return {*re.findall(r"(?<!\$)\$\{([A-Z0-9_]+)", text), *re.findall(r"(?m)^ +([A-Z][A-Z0-9_]+):$", text)}


def test_every_variable_stands_there_once_and_no_other_does() -> None:
    example = names_in_example()
    assert len(example) == len(set(example))
    assert set(example) == names_in_settings() | names_in_compose()


def test_the_names_of_the_seeds_come_first() -> None:
    example = names_in_example()
    assert example[:3] == SEED
    redis = [name for name in example if name.startswith("REDIS_")]
    assert redis[:3] == ["REDIS_PASSWORD", "REDIS_MAXMEMORY", "REDIS_MAXMEMORY_POLICY"]


def test_every_variable_has_a_comment_before_it_and_no_secret_has_a_value() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    for before, line in pairwise(lines):
        if match := LINE.match(line):
            assert before.startswith("# "), line
            if match[1].endswith(("PASSWORD", "_KEY")):
                assert line == f"#{match[1]}="


def test_only_settings_and_the_entry_points_read_the_environment() -> None:
    allowed = {"arcweb/settings.py", "manage.py", "arcweb/celery.py", "arcweb/wsgi.py", "arcweb/bootstrap.py"}
    readers = {
        str(path.relative_to(ROOT))
        for folder in ("arcweb", "agents", "memories", "cache_admin")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"\bgetenv\(|os\.environ(\.get\(|\[)", path.read_text())
    }
    # Programs that are started get the environment of this one: PATH, and nothing of ours.
    starters = {
        path
        for path in readers
        if path.startswith("arcweb/embedded/") or path == "arcweb/backups/processes.py"
    }
    assert readers - starters <= allowed
