"""``valign``, the command line: a thin client of the orchestrator's REST API."""
