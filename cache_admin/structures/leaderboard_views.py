"""The pages Leaderboards and one leaderboard."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe
from redis.exceptions import NoPermissionError, ResponseError

from arcweb.events import record
from arcweb.leaderboards import Member, boards
from arcweb.panels import Row
from cache_admin import codes, connections
from cache_admin.asking import Question, confirmed
from cache_admin.connections import Role
from cache_admin.masking import is_session, text
from cache_admin.rooms import context, link, redis_page, rule_of
from cache_admin.structures import addresses, leaderboards
from cache_admin.structures.common import gone, lasting, posted, rests
from cache_admin.structures.leaderboards import Entry, Standing

#: Boards on the page, their best, and how many one page may show of a board.
MOST_BOARDS = 24
BEST = 5
SIZES = (10, 25, 100)
MEDALS = {1: "Gold", 2: "Silver", 3: "Bronze"}
TITLE = "Leaderboards"
LONGEST_MEMBER = 500  # bytes


@dataclass(frozen=True)
class Line:
    """An entry as a person sees it. `width`: of its bar, from 0 to 100."""

    place: int
    medal: str
    label: str
    url: str
    score: str
    width: str
    member: str  #: for the form
    asked: bool = False


@dataclass(frozen=True)
class Card:
    title: str
    about: str
    url: str
    count: int
    ttl: str  #: "": it never ends
    lines: list[Line]


@require_safe
@redis_page(TITLE, default="state")
def leaderboards_page(request: HttpRequest, role: Role) -> HttpResponse:
    """Every sorted set with its first five, those of this project first."""
    own = [leaderboards.key_of(board.name) for board in boards()] if role == "state" else []
    with connections.client(role) as client:
        found = leaderboards.boards_in(client, MOST_BOARDS)
        keys = [*own, *(key for key in found.keys if key not in own)][:MOST_BOARDS]
        standings = leaderboards.standings(client, keys, BEST)
    cards = [
        Card(
            one.title,
            one.board.about if one.board else "",
            _address(role, one.key),
            one.count,
            lasting(one.ttl),
            _lines(request, one, one.top),
        )
        for one in standings
    ]
    shown = {
        **context(request, role, TITLE),
        "cards": cards,
        "rests": rests(role, found),
        "waiting": [board for board in boards() if role == "state" and not _is_there(board.name, standings)],
        "change_url": link("redis_leaderboard_change", role),
    }
    return render(request, "admin/cache_admin/structures/leaderboards.html", shown)


def _is_there(name: str, standings: Iterable[Standing]) -> bool:
    return any(one.key == leaderboards.key_of(name) for one in standings)


@require_safe
@redis_page(TITLE, default="state")
def leaderboard_page(request: HttpRequest, role: Role) -> HttpResponse:
    """One sorted set: its first and last `n`, and the place of a `member` among its neighbours."""
    key = _board(request.GET.get("key", ""))
    n = next((size for size in SIZES if str(size) == request.GET.get("n", "")), SIZES[0])
    asked = request.GET.get("member", "").strip()
    with connections.client(role) as client:
        standing = next(iter(leaderboards.standings(client, [key], n)), None)
        if standing is None:
            return gone(request, role, TITLE, _NONE, "redis_leaderboards")
        last = leaderboards.bottom(client, key, min(n, max(0, standing.count - n)), standing.count)
        seek = asked and not rule_of(request, key, "zset").reason  # else its place would say that it is there
        near = leaderboards.around(client, key, asked.encode()) if seek else ()
    board = standing.board
    first = standing.top[0]
    lines = _lines(request, standing, (*standing.top, *near, *last))
    shown = {
        **context(request, role, addresses.short(key) if board is None else board.title),
        "tabs": [],
        "board": board,
        "standing": standing,
        "ttl": lasting(standing.ttl),
        "lines": lines[: len(standing.top)],
        "near": [_marked(line, asked) for line in lines[len(standing.top) : len(standing.top) + len(near)]],
        # Of a board that is shown whole the last are among the first.
        "last": lines[len(standing.top) + len(near) :] if standing.count > len(standing.top) else [],
        "leader": lines[0],
        "leading": leaderboards.number(first.score),
        "asked": asked,
        "n": n,
        "sizes": [(size, f"{_address(role, key)}&n={size}") for size in SIZES],
        "key": codes.encode(key),
        "list_url": link("redis_leaderboards", role),
        "change_url": link("redis_leaderboard_change", role),
    }
    return render(request, "admin/cache_admin/structures/leaderboard.html", shown)


@require_POST
@redis_page(TITLE, default="state")
def change(request: HttpRequest, role: Role) -> HttpResponse:
    """`do` is set, increment or remove: of a `member` (or base64 in `raw`) of the board `key` or `name`."""
    name = request.POST.get("name", "").strip()
    key = _board(codes.encode(name.encode()) if name else posted(request, "key"))
    raw = request.POST.get("raw", "")
    member = addresses.decode_member(raw) if raw else posted(request, "member").strip().encode()
    if not 0 < len(member) <= LONGEST_MEMBER:
        raise BadRequest(f"A member has from 1 to {LONGEST_MEMBER} bytes.")
    do = posted(request, "do")
    if do == "remove":
        return _remove(request, role, key, member)
    if do not in ("set", "increment"):
        raise BadRequest("A score can be set or incremented, and a member removed; the form asked otherwise.")
    score = _number(posted(request, "score"))
    facts = {"role": role, "by" if do == "increment" else "score": score}
    try:
        with connections.client(role) as client:
            if not name and not client.exists(key):
                return gone(request, role, TITLE, _NONE, "redis_leaderboards")
            if client.type(key) not in (b"zset", b"none"):
                messages.error(request, f"Nothing was changed: {addresses.short(key)} is no sorted set.")
                return redirect(link("redis_leaderboards", role))
            if do == "set":
                _record("leaderboard.set", key, member, facts)
                new = leaderboards.put(client, key, member, score)
                said = f"{'added' if new else 'set'} with {leaderboards.number(score)}"
            else:
                _record("leaderboard.incremented", key, member, facts)
                said = f"now at {leaderboards.number(leaderboards.increment(client, key, member, score))}"
    except NoPermissionError:
        raise  # told as the server's refusal
    except ResponseError as error:
        messages.error(request, f"Redis refused the change: {error}")
    else:
        messages.success(request, f"{addresses.short(member)} is {said}.")
    return redirect(_address(role, key))


def _remove(request: HttpRequest, role: Role, key: bytes, member: bytes) -> HttpResponse:
    with connections.client(role) as client:
        score = client.zscore(key, member) if client.type(key) == b"zset" else None
        if score is None:
            return gone(request, role, TITLE, "It is on this board no more.", "redis_leaderboards")
        question = Question(
            "Remove from a leaderboard",
            "The member and its score are gone at once. It comes back only when somebody adds it again.",
            "remove",
            "Remove this member",
            link("redis_leaderboards", role),
            facts=(
                Row("Leaderboard", addresses.short(key)),
                Row("Member", addresses.short(member)),
                Row("Score", leaderboards.number(score)),
            ),
            fields={"key": codes.encode(key), "raw": codes.encode(member), "do": "remove"},
        )
        if asks := confirmed(request, role, question):
            return asks
        _record("leaderboard.removed", key, member, {"role": role, "score": _finite(score)})
        removed = leaderboards.remove(client, key, member)
        left = client.exists(key)
    if removed:
        messages.success(request, f"{addresses.short(member)} is removed; its score was {score:,.15g}.")
    else:
        messages.warning(request, "Nothing was left to remove.")
    return redirect(_address(role, key) if left else link("redis_leaderboards", role))


_NONE = "There is no sorted set of that name in this role (any more): it expired, was deleted or emptied."


def _board(encoded: str) -> bytes:
    key = addresses.decode(encoded)
    if not leaderboards.is_board(key):
        raise BadRequest("This sorted set is part of a queue or a lock, not a leaderboard; it is left alone.")
    return key


def _address(role: Role, key: bytes) -> str:
    if len(key) > addresses.LONGEST_LINKED:
        return link("redis_leaderboards", role)
    return link("redis_leaderboard", role, urlencode({"key": codes.encode(key)}))


def _record(kind: str, key: bytes, member: bytes, facts: Mapping[str, object]) -> None:
    """A member may be a person: it stands where it can be erased."""
    record(
        kind,
        object_type="redis.leaderboard",
        object_id=addresses.short(key),
        label=addresses.short(key),
        data=dict(facts),
        note=addresses.short(member),
    )


def _number(typed: str) -> float:
    try:
        score = float(typed.replace(",", "."))
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise BadRequest("A score is a number such as 120 or 0.5: go back and correct it.")
    return score


def _finite(score: float) -> float | str:
    return score if math.isfinite(score) else str(score)  # JSON knows no infinity


def _marked(line: Line, asked: str) -> Line:
    return Line(**{**vars(line), "asked": line.member == codes.encode(asked.encode())})


def _lines(request: HttpRequest, standing: Standing, entries: Iterable[Entry]) -> list[Line]:
    entries = list(entries)
    known: dict[str, Member] = {}
    board = standing.board
    if board is not None and request.user.has_perm(board.permission):
        known = dict(board.members([text(entry.member) for entry in entries]))
    scores = [abs(entry.score) for entry in entries if math.isfinite(entry.score)]
    most = max(scores, default=0.0) or 1.0
    lines = []
    rule = rule_of(request, standing.key, "zset")
    for entry in entries:
        shown = known.get(text(entry.member))
        lines.append(
            Line(
                entry.place,
                MEDALS.get(entry.place, ""),
                shown.label if shown else addresses.short(rule.let(entry.member)),
                shown.url if shown else "",
                leaderboards.number(entry.score),
                f"{100 * min(1.0, abs(entry.score) / most):.4g}",
                "" if is_session(entry.member) else codes.encode(entry.member),
            )
        )
    return lines
