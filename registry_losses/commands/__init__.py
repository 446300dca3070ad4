"""What stands behind each command line; a tool, its module and its function share a name."""
