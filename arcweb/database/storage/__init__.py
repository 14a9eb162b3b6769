"""Tables and indexes: what they hold and cost, what is wrong with them, and the jobs that mend it."""
