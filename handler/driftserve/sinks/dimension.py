"""The text of a dimension, as CloudWatch takes it."""

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html
MAX_CHARACTERS = 1024


def dimension_value(text: str) -> str:
    """A label in ASCII, not too long, not empty and not beginning with a colon."""
    return text.encode("ascii", "backslashreplace").decode().lstrip(":")[:MAX_CHARACTERS] or "_"
