"""Texts of people on one line."""


def one_line(words: str, most: int = 60) -> str:
    """The words on one line, cut with dots where that has more than `most` characters."""
    line = " ".join(words.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
