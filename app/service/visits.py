"""Visits: which page belongs to which, and the images and comparisons that a browser keeps as its own.

Gradio knows pages only: a reload is another one. So a browser keeps the token of its visit, and gives it back with the
ids that are its own, each with a signature, as nobody else may claim them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from hmac import compare_digest

MOST = 10_000  # pages that are remembered
HALF = 24  # characters of a token that name the visit; as many sign it


class Visits:
    """The pages of one process. sign(words): a signature that only the server can give. For any thread."""

    def __init__(self, sign: Callable[[str], str]):
        self._sign = sign
        self._joined: OrderedDict[str, tuple[str, str]] = OrderedDict()  # page -> token, browser tab
        self._lock = threading.Lock()

    def token(self, page: str | None) -> str:
        """The key of the visit that a page (Gradio's session) belongs to: a visit of its own until it joins one."""
        with self._lock:
            token, _ = self._joined.get(page or "", ("", ""))
        if token:
            return token
        visit = self._sign(f"visit {page or ''}")
        return visit + self._sign(visit)

    def known(self, token: str) -> bool:
        """Whether this server gave that token to somebody."""
        visit, signature = token[:HALF], token[HALF:]
        return len(visit) == HALF and self._signed(visit, signature)

    def join(self, page: str | None, token: str, browser_tab: str) -> None:
        """The page goes on with the visit of this token, if the server gave it; and in this tab of the browser."""
        token = token if self.known(token) else self.token(page)
        with self._lock:
            self._joined[page or ""] = token, browser_tab
            self._joined.move_to_end(page or "")
            while len(self._joined) > MOST:
                self._joined.popitem(last=False)

    def place(self, page: str | None) -> tuple[str, str]:
        """The visit and the tab of the browser: the same before and after a reload."""
        with self._lock:
            return self._joined.get(page or "", (page or "", ""))

    def with_signatures(self, kind: str, ids: Iterable[str]) -> list[tuple[str, str]]:
        """Ids of a kind, each with its signature, for a browser to keep."""
        return [(id, self._sign(f"{kind} {id}")) for id in ids]

    def signed_ids(self, kind: str, pairs: object) -> list[str]:
        """Of what a browser says it kept, the ids whose signature is right, in their order."""
        pairs = pairs if isinstance(pairs, list) else []
        found = [pair for pair in pairs if isinstance(pair, list) and [type(part) for part in pair] == [str, str]]
        return list(dict.fromkeys(id for id, signature in found if self._signed(f"{kind} {id}", signature)))

    def _signed(self, words: str, signature: str) -> bool:
        return signature.isascii() and compare_digest(signature, self._sign(words))
