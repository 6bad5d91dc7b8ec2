"""Texts of people on one line; sizes of files in words."""


def one_line(words: str, most: int = 60) -> str:
    """The words on one line, cut with dots where that has more than `most` characters."""
    line = " ".join(words.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def size_said(size: int) -> str:
    """A number of bytes in words: "214 kB", "36 MB", "1.4 GB"."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.{0 if size >= 10 * factor or unit == 'kB' else 1}f} {unit}"
    return f"{size} bytes"
