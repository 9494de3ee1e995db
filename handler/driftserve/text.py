"""Makes text safe for one line of a log or terminal, and for a metric's dimension."""

_MOST_DIMENSION_CHARACTERS = 1024


def printable(text: object) -> str:
    r"""Replace each unprintable character by a space, so that the text cannot break the line or control the terminal.

    A byte of a file name that is not UTF-8 is shown as its code, so that the file can be found.

    >>> printable("a\nb\x1b[2J"), printable("caf\udce9.jpg")
    ('a b [2J', 'caf\\xe9.jpg')
    """
    return "".join(letter if letter.isprintable() else _shown(letter) for letter in str(text))


def is_utf8(name: str) -> bool:
    r"""Return whether a name from the operating system is UTF-8. Python keeps other bytes as lone surrogates.

    >>> is_utf8("caf\u00e9.jpg"), is_utf8("caf\udce9.jpg")
    (True, False)
    """
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def fault_of_variable(value: str) -> str | None:
    """Return what is wrong with the text of an environment variable, or None.

    An empty variable is a template that was not filled in. As a path it would be the current directory, as a list
    nothing at all. So it is an error in all settings.

    >>> fault_of_variable(" ")
    'expected a value, got an empty one; unset the variable to use the default'
    """
    if not is_utf8(value):
        return f"expected UTF-8, got {value}; rename the file or folder"
    if not value.strip():
        return "expected a value, got an empty one; unset the variable to use the default"
    return None


def one_line(error: object) -> str:
    """Return the text of an error as one line of at most 600 printable characters."""
    return printable(str(error)[:600])


def _shown(letter: str) -> str:
    return f"\\x{ord(letter) - 0xDC00:02x}" if "\udc80" <= letter <= "\udcff" else " "


def dimension_value(text: str) -> str:
    r"""Return a label as a value of a CloudWatch dimension.

    It is printable ASCII of at most 1,024 characters, not blank, without a colon at the start. Source:
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html

    >>> dimension_value("a\nb"), dimension_value(":h\u00f6hle"), dimension_value(" ")
    ('a b', 'h\\xf6hle', '_')
    """
    ascii_text = printable(text).encode("ascii", "backslashreplace").decode()
    return ascii_text.lstrip(" :")[:_MOST_DIMENSION_CHARACTERS].rstrip() or "_"
