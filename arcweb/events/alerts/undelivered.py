"""What a channel raises."""


class Undelivered(Exception):  # noqa: N818 - it is an outcome
    """One try did not succeed. Its text is a sentence for the page, without secrets."""
