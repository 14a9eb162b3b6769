"""Alarms of the platform itself."""

import arcweb.events.alerts.servers  # noqa: F401 - registers
