from tests.app.runs.conftest import engines

__all__ = ["engines"]
