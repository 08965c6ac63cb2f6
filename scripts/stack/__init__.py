"""The whole system on one machine, with the real PostgreSQL, MLflow and Prometheus beside it."""
