"""When copies are taken: five fields of cron in UTC, one run for each slot, a missed one caught up once."""
