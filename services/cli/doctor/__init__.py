"""``valign doctor``: what is installed, which model would run, what would fail, and the remedy."""
