import hashlib

import pytest

from memories.uploads import UploadError, from_bytes, from_text, name_for


def test_a_text_file_is_taken_as_it_is() -> None:
    upload = from_bytes("Notes.MD", "# Grüße\n".encode(), limit_mb=1)
    assert (upload.name, upload.media_type, upload.text) == ("Notes.MD", "text/markdown", "# Grüße\n")
    assert upload.size == 10
    assert upload.content_hash == hashlib.sha256("# Grüße\n".encode()).digest()


def test_a_byte_order_mark_is_no_content() -> None:
    assert from_bytes("a.txt", b"\xef\xbb\xbfhello", limit_mb=1).text == "hello"


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.txt", b"", "'a.txt' is empty"),
        ("a.txt", b" \n\t ", "'a.txt' is empty"),
        ("a.txt", b"PK\x03\x04\x00\x00", "is binary"),
        ("a.txt", b"caf\xe9 au lait", "not valid UTF-8: the byte at 3"),
        ("a.txt", "hello".encode("utf-16"), "is UTF-16; save it as UTF-8"),
        ("a.txt", b"x" * (1024 * 1024 + 1), "1.0 MB and 1 MB is the most"),
        ("a.pdf", b"%PDF-1.7", "not a text file that can be ingested"),
        ("../../etc/passwd.txt", b"x", "contains a path"),
        ("c:\\temp\\a.txt", b"x", "contains a path"),
        ("..", b"x", "contains a path"),
        ("  ", b"x", "has no name"),
        ("a\nb.txt", b"x", "cannot be shown"),
        ("n" * 252 + ".txt", b"x", "256 characters long; 255 are the most"),
    ],
)
def test_everything_else_is_refused_in_a_sentence(name: str, data: bytes, words: str) -> None:
    with pytest.raises(UploadError, match=words.replace("\\", ".")):
        from_bytes(name, data, limit_mb=1)


def test_a_pasted_text_with_half_characters_is_refused() -> None:
    with pytest.raises(UploadError, match="surrogates"):
        from_text("a", "x\ud800y", limit_mb=1)


def test_line_ends_are_those_of_the_project() -> None:
    assert from_bytes("a.txt", b"a\r\nb\rc\n", limit_mb=1).text == "a\nb\nc\n"


@pytest.mark.parametrize(
    "text", ["C:\\temp\\x is a path", "a/b", "\u200d joined \U0001f469\u200d\U0001f52c", "\x07\x07", ".."]
)
def test_a_name_made_from_a_text_is_a_good_name(text: str) -> None:
    assert from_text(name_for(text), text + "x", limit_mb=1).name.endswith(".txt")
