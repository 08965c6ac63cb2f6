"""The report of a run: its schema, the projection of its topics and the page that shows it."""
