"""Human review of a run: blind ratings of frozen pairs, closed into a new revision of its report."""
