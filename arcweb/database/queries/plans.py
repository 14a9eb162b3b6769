"""EXPLAIN's JSON as a tree for people: what each step does, costs and returns, what is wrong. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from arcweb.charts import quantity
from arcweb.database.queries.texts import clipped

#: An estimate that is off by so much misleads the planner, if so many rows are concerned; other tools that
#: read plans (explain.depesz.com, explain.dalibo.com) begin to mark it there too.
MISLED, CONCERNED = 10, 1000
#: Percent of the time from which a step is the one to look at.
MUCH = 40
#: Facts of a step, in the order in which they are shown.
FACTS = (
    "Index Cond", "Recheck Cond", "Order By", "TID Cond", "Hash Cond", "Merge Cond", "Join Filter",
    "One-Time Filter", "Filter", "Sort Key", "Presorted Key", "Group Key", "Cache Key", "Function Call",
)  # fmt: skip
LONGEST_FACT = 400


@dataclass
class Node:
    """A step. Times are milliseconds of all its loops together, its children's included."""

    raw: dict[str, Any]
    depth: int
    parent: Node | None
    stopped: bool = False  #: something above it stops when it has enough
    processes: int = 1  #: that share its work
    children: list[Node] = field(default_factory=list)
    share: float = 0.0  #: percent of the whole that the step itself takes
    notes: list[str] = field(default_factory=list)
    worst: bool = False

    @property
    def kind(self) -> str:
        return str(self.raw["Node Type"])

    @property
    def relation(self) -> str:
        """ "agents.memories" as an SQL name; "" where the step reads no table."""
        name = self.raw.get("Relation Name")
        return (
            f"{_named(self.raw['Schema'])}.{_named(name)}" if name and "Schema" in self.raw else (name or "")
        )

    @property
    def title(self) -> str:
        """ "Index Scan using idx on agents.memories m"."""
        raw = self.raw
        words: list[str] = ["Hash", self.kind] if raw.get("Strategy") == "Hashed" else [self.kind]
        if join := raw.get("Join Type"):
            words.append("" if join == "Inner" else join)
        if index := raw.get("Index Name"):
            words += ["using", index]
        target = self.relation or raw.get("Function Name") or raw.get("CTE Name") or ""
        if target:
            words += ["on", target]
            alias = raw.get("Alias")
            if alias and alias != raw.get("Relation Name", target):
                words.append(alias)
        if raw.get("Subplan Name"):
            words.append(f"({raw['Subplan Name']})")
        return " ".join(filter(None, words))

    @property
    def analyzed(self) -> bool:
        return "Actual Loops" in self.raw

    @property
    def loops(self) -> int:
        return int(self.raw.get("Actual Loops", 0))

    @property
    def never(self) -> bool:
        return self.analyzed and self.loops == 0

    @property
    def estimated(self) -> int:
        """Rows of one loop."""
        return int(self.raw["Plan Rows"])

    @property
    def returned(self) -> float | None:
        """Rows of one loop, on average."""
        return float(self.raw["Actual Rows"]) if self.loops else None

    @property
    def rows_in_words(self) -> str:
        if self.never:
            return f"{self.estimated:,} expected, never run"
        if self.returned is None:
            return f"{self.estimated:,}"
        each = f" times {self.loops:,}" if self.loops > 1 else ""
        return f"{quantity(self.returned)}{each} (expected {self.estimated:,})"

    @property
    def milliseconds(self) -> float:
        return float(self.raw.get("Actual Total Time", 0.0)) * self.loops / self.processes

    @property
    def cost(self) -> float:
        return float(self.raw["Total Cost"])

    @property
    def own(self) -> float:
        """What it takes itself: milliseconds, or the planner's units where it was not run."""
        if self.analyzed:
            return max(0.0, self.milliseconds - sum(child.milliseconds for child in self.children))
        return max(0.0, self.cost - sum(child.cost for child in self.children))

    @property
    def own_in_words(self) -> str:
        return quantity(self.own, "ms") if self.analyzed else f"cost {quantity(self.own)}"

    @property
    def buffers(self) -> str:
        """What it touched, its children included: "1,204 hit, 33 read"."""
        parts = (
            (self.raw.get("Shared Hit Blocks", 0), "hit"),
            (self.raw.get("Shared Read Blocks", 0), "read"),
            (self.raw.get("Temp Written Blocks", 0), "temp"),
        )
        return ", ".join(f"{number:,} {word}" for number, word in parts if number)

    @property
    def facts(self) -> list[tuple[str, str]]:
        found = [(name, _short(self.raw[name])) for name in FACTS if name in self.raw]
        for name in (
            "Rows Removed by Filter",
            "Rows Removed by Join Filter",
            "Rows Removed by Index Recheck",
        ):
            if removed := self.raw.get(name):
                each = " in each loop" if self.loops > 1 else ""
                found += [(name, f"{removed:,}{each}")]
        if "Sort Method" in self.raw:
            where = "on disk" if self.raw.get("Sort Space Type") == "Disk" else "of memory"
            space = f"{self.raw.get('Sort Space Used', 0):,} kB {where}"
            found.append(("Sort Method", f"{self.raw['Sort Method']}, {space}"))
        if self.raw.get("Heap Fetches"):
            found.append(("Heap Fetches", f"{self.raw['Heap Fetches']:,}"))
        if "Workers Launched" in self.raw:
            found.append(
                ("Workers", f"{self.raw['Workers Launched']} of {self.raw.get('Workers Planned', '?')}")
            )
        return found

    @property
    def misled(self) -> bool:
        """Whether the estimate was off by MISLED; too few rows of a step that was stopped prove nothing."""
        if self.returned is None:
            return False
        few, many = sorted((max(1.0, self.returned), max(1.0, float(self.estimated))))
        if self.stopped and self.returned < self.estimated:
            return False
        return many / few >= MISLED and many * max(1, self.loops) >= CONCERNED

    @property
    def indent(self) -> int:
        """For a style sheet without inline styles: 0 to 12."""
        return min(self.depth, 12)


@dataclass(frozen=True)
class Plan:
    nodes: list[Node]  #: from the top, each before its children
    planning: float | None  #: milliseconds
    execution: float | None
    settings: dict[str, str]
    findings: list[str]  #: the sentences about it, the gravest first
    statement: str  #: what mends the gravest; ""
    answer: dict[str, Any]

    @property
    def analyzed(self) -> bool:
        return self.execution is not None

    @property
    def as_json(self) -> str:
        return clipped(json.dumps([self.answer], indent=2, ensure_ascii=False))

    @property
    def as_text(self) -> str:
        """As EXPLAIN prints it, nearly."""
        lines = [line for node in self.nodes for line in _printed(node)]
        if self.settings:
            lines.append(
                "Settings: " + ", ".join(f"{name} = '{value}'" for name, value in self.settings.items())
            )
        if self.planning is not None:
            lines.append(f"Planning Time: {self.planning:.3f} ms")
        if self.execution is not None:
            lines.append(f"Execution Time: {self.execution:.3f} ms")
        return "\n".join(lines)


def plan(answer: dict[str, Any]) -> Plan:
    """answer: the element of EXPLAIN's JSON, {"Plan": …}."""
    nodes = list(_walk(answer["Plan"], 0, None, stopped=False, processes=1))
    whole = sum(node.own for node in nodes)
    for node in nodes:
        node.share = 100 * node.own / whole if whole else 0.0
    findings, statement = _judged(nodes)
    return Plan(
        nodes,
        answer.get("Planning Time"),
        answer.get("Execution Time"),
        answer.get("Settings", {}),
        findings,
        statement,
        answer,
    )


def _walk(
    raw: dict[str, Any], depth: int, parent: Node | None, *, stopped: bool, processes: int
) -> Iterator[Node]:
    node = Node(raw, depth, parent, stopped, processes)
    if parent is not None:
        parent.children.append(node)
    yield node
    kind = raw["Node Type"]
    if kind in ("Gather", "Gather Merge"):
        processes = int(raw.get("Workers Launched", raw.get("Workers Planned", 0))) + 1
    # A sort, a hash or an aggregate takes all its rows, whatever is above it.
    takes_all = kind in ("Sort", "Hash", "Aggregate", "Incremental Sort", "Bitmap Heap Scan", "Materialize")
    below = (
        kind in ("Limit", "Merge Join")
        or raw.get("Join Type") in ("Semi", "Anti")
        or (stopped and not takes_all)
    )
    for child in raw.get("Plans", ()):
        yield from _walk(child, depth + 1, node, stopped=below, processes=processes)


def _judged(nodes: list[Node]) -> tuple[list[str], str]:
    """Marks what is wrong at its step; the sentences, and the statement that mends the first of them."""
    said: list[tuple[float, str, str]] = []
    misled = [node for node in nodes if node.misled]
    if misled:
        # An error travels upwards: the deepest step is where it begins.
        node = max(misled, key=lambda one: (one.depth, _factor(one)))
        node.worst = True
        table = next((one.relation for one in (node, *_below(node)) if one.relation), "")
        analyze = f"ANALYZE {table};" if table else ""
        sentence = (
            f"{node.title}: estimated {_rows(node.estimated)}, got {quantity(node.returned or 0)}"
            f"{' in each loop' if node.loops > 1 else ''}. "
            + (f"Renew its statistics with ANALYZE {table}." if table else "No statistics tell it better.")
            + " If that changes nothing, the columns depend on each other: see CREATE STATISTICS."
        )
        node.notes.append(f"The estimate is off {quantity(round(_factor(node)))}-fold.")
        said.append((_factor(node), sentence, analyze))
    for node in nodes:
        removed = float(node.raw.get("Rows Removed by Filter", 0)) * max(1, node.loops)
        kept = (node.returned or 0) * max(1, node.loops)
        if node.kind == "Seq Scan" and removed >= CONCERNED * 10 and removed >= 20 * max(1.0, kept):
            node.notes.append(f"Reads {quantity(removed + kept)} rows to keep {quantity(kept)}.")
            reads = f"{node.title} reads {quantity(removed + kept)} rows to keep {quantity(kept)}"
            said.append((5, f"{reads}: an index on what it filters by would read only those.", ""))
        if node.raw.get("Sort Space Type") == "Disk":
            space = int(node.raw.get("Sort Space Used", 0))
            node.notes.append("Sorts on disk.")
            said.append((4, f"{node.kind} took {space:,} kB on disk: work_mem is too small for it.", ""))
        if int(node.raw.get("Hash Batches", 1)) > 1:
            node.notes.append(f"In {node.raw['Hash Batches']} parts on disk.")
            said.append(
                (3, f"{node.kind} did not fit into work_mem and was split in {node.raw['Hash Batches']}.", "")
            )
    timed = [node for node in nodes if node.analyzed]
    if timed:
        slowest = max(timed, key=lambda node: node.own)
        if slowest.share >= MUCH:
            slowest.notes.append("Most of the time is spent here.")
            said.append((1, f"{slowest.share:.0f} % of the time is spent in {slowest.title}.", ""))
            slowest.worst = slowest.worst or not misled
    said.sort(key=lambda one: -one[0])
    return [sentence for _, sentence, _ in said], next((statement for *_, statement in said if statement), "")


def _factor(node: Node) -> float:
    few, many = sorted((max(1.0, node.returned or 0.0), max(1.0, float(node.estimated))))
    return many / few


def _below(node: Node) -> Iterator[Node]:
    for child in node.children:
        yield child
        yield from _below(child)


def _rows(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"


def _printed(node: Node) -> Iterator[str]:
    raw, margin = node.raw, "  " * node.depth * 3
    actual = ""
    if node.never:
        actual = " (never executed)"
    elif node.analyzed:
        actual = (
            f" (actual time={raw.get('Actual Startup Time', 0):.3f}..{raw.get('Actual Total Time', 0):.3f} "
            f"rows={raw['Actual Rows']} loops={node.loops})"
        )
    yield (
        f"{margin[:-4] + '->  ' if node.depth else ''}{node.title}  (cost={raw['Startup Cost']:.2f}.."
        f"{node.cost:.2f} rows={node.estimated} width={raw['Plan Width']}){actual}"
    )
    for name, value in node.facts:
        yield f"{margin}  {name}: {value}"
    if node.analyzed and node.buffers:
        yield f"{margin}  Buffers: {node.buffers}"


def _short(value: Any) -> str:
    text = clipped(", ".join(map(str, value)) if isinstance(value, list) else str(value))
    return text if len(text) <= LONGEST_FACT else f"{text[:LONGEST_FACT]}…"


def _named(name: str) -> str:
    """An identifier as SQL needs it."""
    return (
        name
        if name.isidentifier() and name == name.lower() and name.isascii()
        else '"' + name.replace('"', '""') + '"'
    )
