"""Sessions and locks: who works, who waits for whom, and the way to end it."""
