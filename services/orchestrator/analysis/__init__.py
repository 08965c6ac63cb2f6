"""What a run's texts, embeddings and log-probabilities say: statistics, guards and the numbers of the report.

Pure: no service, no store, no clock. It reads an ``Evidence`` and returns an ``Analysis``, so that anybody
who has a run's evidence can compute its report again.
"""
