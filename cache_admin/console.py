"""The language of the small Redis console: words of a command line in, replies in redis-cli's manner out.

Pure: no Django, no network.
"""

from __future__ import annotations

from redis.exceptions import RedisError

Reply = bytes | int | None | RedisError | list["Reply"]

#: After a backslash between double quotes.
ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "b": b"\b", "a": b"\a"}
SHOWN_AS = {ord(raw): f"\\{letter}" for letter, raw in ESCAPES.items()} | {0x22: '\\"', 0x5C: "\\\\"}
#: Answers that are a text of many lines, shown as it is.
PLAIN_TEXT = {
    ("INFO",),
    ("LOLWUT",),
    ("CLIENT", "INFO"),
    ("CLIENT", "LIST"),
    ("CLUSTER", "INFO"),
    ("CLUSTER", "NODES"),
    ("LATENCY", "DOCTOR"),
    ("MEMORY", "DOCTOR"),
    ("MEMORY", "MALLOC-STATS"),
}
#: Commands whose arguments may be passwords: a message about them shows the first word alone.
SECRETIVE = {"ACL", "AUTH", "CONFIG", "HELLO", "MIGRATE"}


class Status(bytes):
    """A status reply such as OK, which is shown without quotes."""


class QuotingError(ValueError):
    """The line cannot be split into words; the message is a sentence."""


def split_line(line: str) -> list[bytes]:
    r"""The words of a command line.

    Quotes count where a word begins: '…' knows \' alone, "…" knows \n \r \t \b \a \xHH, and any other
    character after a backslash as itself. Within a word they are ordinary characters, so that JSON needs
    no quotes unless it has spaces: SET k {"name":"John"}. Raises QuotingError.
    """
    words: list[bytes] = []
    position = 0
    while position < len(line):
        if line[position].isspace():
            position += 1
        elif line[position] in "'\"":
            word, position = _quoted_word(line, position)
            words.append(word)
        else:
            end = position
            while end < len(line) and not line[end].isspace():
                end += 1
            words.append(line[position:end].encode())
            position = end
    return words


def _quoted_word(line: str, start: int) -> tuple[bytes, int]:
    """The word that begins with the quote at `start`, and the position behind its closing quote."""
    quote, position, word = line[start], start + 1, bytearray()
    while position < len(line):
        character = line[position]
        if character == quote:
            if position + 1 < len(line) and not line[position + 1].isspace():
                raise QuotingError(
                    f"After the closing {quote} at character {position + 1} there must be a space. "
                    f"Write \\{quote} for a quote inside of quotes."
                )
            return bytes(word), position + 1
        if character == "\\" and position + 1 < len(line):
            value, position = _escaped(line, position + 1, quote)
            word += value
        else:
            word += character.encode()
            position += 1
    raise QuotingError(
        f"The {quote} at character {start + 1} is never closed. Close it, or escape it as \\{quote}."
    )


def _escaped(line: str, position: int, quote: str) -> tuple[bytes, int]:
    """What the character behind a backslash means, and the position after it."""
    letter = line[position]
    if quote == "'":
        return (b"'" if letter == "'" else b"\\" + letter.encode()), position + 1
    digits = line[position + 1 : position + 3]
    if letter == "x" and len(digits) == 2 and all(digit in "0123456789abcdefABCDEF" for digit in digits):
        return bytes.fromhex(digits), position + 3
    return ESCAPES.get(letter, letter.encode()), position + 1


def is_plain_text(words: list[bytes]) -> bool:
    """Whether that command answers a text for people."""
    names = tuple(word.decode(errors="replace").upper() for word in words[:2])
    return names[:1] in PLAIN_TEXT or names in PLAIN_TEXT


def describe(words: list[bytes]) -> str:
    """The command as a message may show it, without what could be a password."""
    first = words[0].decode(errors="replace")
    return f"{first} …" if first.upper() in SECRETIVE else b" ".join(words).decode(errors="replace")


def render(reply: Reply, *, plain_text: bool = False) -> str:
    """The reply as redis-cli shows it on a terminal; plain_text shows a string as it is."""
    if isinstance(reply, list):
        return _render_list(reply)
    if isinstance(reply, RedisError):
        code = getattr(reply, "status_code", None)
        return f"(error) {code} {reply}" if code else f"(error) {reply}"
    if reply is None:
        return "(nil)"
    if isinstance(reply, int):
        return f"(integer) {reply}"
    if isinstance(reply, Status) or plain_text:
        return reply.decode(errors="replace").rstrip("\r\n")
    return f'"{"".join(map(_shown, reply))}"'


def _shown(byte: int) -> str:
    return SHOWN_AS.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}")


def _render_list(replies: list[Reply]) -> str:
    if not replies:
        return "(empty array)"
    width = len(str(len(replies)))
    lines = []
    for number, reply in enumerate(replies, start=1):
        first, *rest = render(reply).split("\n")
        lines.append(f"{number:>{width}}) {first}")
        lines += [" " * (width + 2) + line for line in rest]
    return "\n".join(lines)
