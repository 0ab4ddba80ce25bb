"""Names of files in the run folder that one process writes and another reads."""

DISCOVERY_ADDRESS = "discovery.url"
"""Where the debug port of the control plane that serves the folder is."""
