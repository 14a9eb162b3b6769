"""What a handler raises, and what is raised into it."""


class JobFailed(Exception):  # noqa: N818 - reads as a fact where it is raised
    """Raised by a handler: the job has failed for good; the message is a sentence for an operator."""


class RetryLater(Exception):  # noqa: N818
    """Raised by a handler: try again in `seconds`; when the attempts run out the job has failed."""

    def __init__(self, seconds: float, sentence: str) -> None:
        super().__init__(sentence)
        self.seconds = max(0.0, float(seconds))


class JobCancelled(Exception):  # noqa: N818
    """Raised into a handler by JobContext: somebody asked to stop. Clean up and let it pass."""


class ClaimLost(Exception):  # noqa: N818
    """Raised into a handler by JobContext: the job was given to another worker. Write nothing more."""
