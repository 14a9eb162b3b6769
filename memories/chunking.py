"""Cutting a text into chunks that a model reads whole. Pure: knows no Django, no database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer


#: Characters cut at once: about half a second of work.
SECTION = 50_000


@dataclass(frozen=True)
class Chunk:
    """One piece: its place among the pieces (from 0), where it starts in the text, and its text."""

    position: int
    start: int
    text: str


def sections(text: str, size: int = SECTION) -> Iterator[tuple[int, str]]:
    """The text in pieces of about `size` characters, each with its start, ending at a blank line if it can.

    A large text is cut piece by piece, so that there is progress to show and a moment to stop.
    """
    start = 0
    while start < len(text):
        end = start + size
        if end < len(text):
            for boundary in ("\n\n", "\n", " "):
                if (found := text.rfind(boundary, start + size // 2, end)) >= 0:
                    end = found + len(boundary)
                    break
        yield start, text[start:end]
        start = end


def chunk_text(
    text: str, *, tokenizer: Tokenizer, tokens: tuple[int, int], markdown: bool = False
) -> list[Chunk]:
    """Chunks of at most tokens[1] tokens, cut at the largest boundary that fits.

    A chunk that has tokens[0] takes in no more than the paragraph or sentence it is in, so that it
    keeps to one thing.

    Boundaries are headings and blocks (Markdown), paragraphs, sentences, then words. Chunks keep
    the text's order and are trimmed of white space; a blank text gives none.
    """
    from semantic_text_splitter import MarkdownSplitter, TextSplitter  # loads a compiled library

    kind = MarkdownSplitter if markdown else TextSplitter
    splitter = kind.from_huggingface_tokenizer(tokenizer, tokens)
    return [
        Chunk(position, start, piece)
        for position, (start, piece) in enumerate(splitter.chunk_indices(text))
        if piece.strip()
    ]
