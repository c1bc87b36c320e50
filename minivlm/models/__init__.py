"""Each model in a file of its own: its configuration, then its modules in data order."""
