"""``valign up``: the four services on one machine, as child processes of one supervisor."""
