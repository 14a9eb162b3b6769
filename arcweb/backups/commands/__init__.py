"""The subcommands of `manage.py backup`: each module of this package declares one or more."""
