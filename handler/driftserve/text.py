"""Text that a line of a log or of a terminal, or a metric's dimension, can hold."""


def printable(text: object) -> str:
    r"""The text with a blank for every character that does not print: it neither breaks the line nor is obeyed.

    >>> printable("a\nb\x1b[2J")
    'a b [2J'
    """
    return "".join(letter if letter.isprintable() else " " for letter in str(text))


def one_line(error: object) -> str:
    """The text of an error as one line of at most 600 characters, with nothing that a terminal would obey."""
    return printable(str(error)[:600])
