"""Alerts: the one mechanism behind the rules that every room registers with `arcweb.alarms`.

`rules` decides (pure), `evaluation` looks and keeps, `deliveries` and `sending` tell the people outside,
`watchman` does it from the web process for what a worker cannot see.
"""
