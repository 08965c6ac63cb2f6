"""The web page: files that hold no data, read from the package and served under names of their content."""

from services.orchestrator.web.routes import router

__all__ = ["router"]
