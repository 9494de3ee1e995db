"""Converts labels to dimension values that CloudWatch accepts."""

from driftserve.text import printable

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html
MAX_CHARACTERS = 1024


def dimension_value(text: str) -> str:
    r"""Return a label as printable ASCII of at most 1,024 characters, not blank, and without a colon at the start.

    >>> dimension_value("a\nb"), dimension_value(":h\u00f6hle"), dimension_value(" ")
    ('a b', 'h\\xf6hle', '_')
    """
    return printable(text).encode("ascii", "backslashreplace").decode().lstrip(" :")[:MAX_CHARACTERS].rstrip() or "_"
