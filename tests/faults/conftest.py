from tests.app.conftest import engines

__all__ = ["engines"]
