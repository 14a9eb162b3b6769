"""The one exception of the embedded stack."""


class EmbeddedError(Exception):
    """What is wrong and how to mend it, in a sentence for the operator."""
