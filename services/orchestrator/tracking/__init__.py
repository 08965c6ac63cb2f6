"""Mirrors runs, adapters and routes to an MLflow server, and, where asked, promotions made there back."""
