"""How many rows one network evaluation has at most: fewer after the memory did not suffice, and more again later."""

from __future__ import annotations

PATIENCE = 50  # evaluations after which twice as many rows are tried again; each trial that fails doubles it ...
LONGEST = 1600  # ... up to here, so that a memory that stays too small costs one evaluation in many


class RowsACall:
    """most: where it begins, and never more. For one thread."""

    def __init__(self, most: int):
        self.most = self.now = most
        self._patience, self._answered = PATIENCE, 0
        self._on_trial = False  # whether `now` was raised lately

    def failed(self, rows: int) -> None:
        """So many did not fit: half of them from now on."""
        self.now = min(self.now, (rows + 1) // 2)
        if self._on_trial:
            self._patience = min(2 * self._patience, LONGEST)
        self._on_trial, self._answered = False, 0

    def answered(self) -> None:
        """An evaluation went well."""
        self._answered += 1
        if self._answered < self._patience:
            return
        self._on_trial, self._answered = self.now < self.most, 0
        if self._on_trial:
            self.now = min(2 * self.now, self.most)
        else:
            self._patience = PATIENCE
