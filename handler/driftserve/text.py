"""Makes text safe for one line of a log or terminal, and for a metric's dimension."""


def printable(text: object) -> str:
    r"""Replace each unprintable character by a space, so that the text cannot break the line or control the terminal.

    >>> printable("a\nb\x1b[2J")
    'a b [2J'
    """
    return "".join(letter if letter.isprintable() else " " for letter in str(text))


def one_line(error: object) -> str:
    """Return the text of an error as one line of at most 600 printable characters."""
    return printable(str(error)[:600])
