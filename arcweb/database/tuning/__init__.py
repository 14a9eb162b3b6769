"""The server's settings: what the machine and the load ask for, and changing them."""
