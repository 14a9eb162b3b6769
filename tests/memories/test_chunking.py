from hypothesis import given, settings
from hypothesis import strategies as st

from memories.chunking import chunk_text, sections
from memories.local_model import counting_tokenizer

TOKENIZER = counting_tokenizer()


def test_chunks_fit_the_model_and_keep_the_order() -> None:
    text = "\n\n".join(f"Paragraph {n}. " + "The worker keeps a lease on its batch. " * 12 for n in range(40))
    chunks = chunk_text(text, tokenizer=TOKENIZER, tokens=(100, 100))
    assert len(chunks) > 40
    assert [chunk.position for chunk in chunks] == list(range(len(chunks)))
    for chunk in chunks:
        assert text[chunk.start :].startswith(chunk.text)
        assert len(TOKENIZER.encode(chunk.text, add_special_tokens=False).ids) <= 100


def test_no_word_is_lost() -> None:
    text = " ".join(f"word{n}" for n in range(5000))
    chunks = chunk_text(text, tokenizer=TOKENIZER, tokens=(50, 50))
    assert " ".join(chunk.text for chunk in chunks).split() == text.split()


def test_markdown_is_cut_at_its_headings() -> None:
    text = "# One\n\n" + "alpha beta gamma. " * 20 + "\n\n# Two\n\n" + "delta epsilon. " * 20
    chunks = chunk_text(text, tokenizer=TOKENIZER, tokens=(120, 120), markdown=True)
    assert [chunk.text[:5] for chunk in chunks if chunk.text.startswith("#")] == ["# One", "# Two"]


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=400))
def test_any_text_is_cut_without_an_error(text: str) -> None:
    chunks = chunk_text(text, tokenizer=TOKENIZER, tokens=(20, 20))
    assert all(chunk.text.strip() for chunk in chunks)
    assert bool(chunks) == bool(text.strip())


def test_enough_is_enough() -> None:
    text = "\n\n".join(f"Paragraph {n} is about one thing and has some ten words." for n in range(20))
    chunks = chunk_text(text, tokenizer=TOKENIZER, tokens=(10, 200))
    assert [chunk.text for chunk in chunks] == text.split("\n\n")


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab \n", max_size=300), st.integers(2, 50))
def test_sections_are_the_text_in_pieces(text: str, size: int) -> None:
    pieces = list(sections(text, size))
    assert "".join(piece for _, piece in pieces) == text
    assert all(text[start : start + len(piece)] == piece for start, piece in pieces)
    assert all(0 < len(piece) <= size + 2 for _, piece in pieces)


def test_sections_end_at_a_blank_line() -> None:
    text = "one two three\n\nfour five six\n\nseven eight"
    assert [piece for _, piece in sections(text, 20)] == [
        "one two three\n\n",
        "four five six\n\n",
        "seven eight",
    ]
