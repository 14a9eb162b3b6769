"""Keys of the two Redis roles: browsed, looked into, changed and deleted without hurting the server."""
