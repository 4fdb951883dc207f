"""Text as PostgreSQL can hold it."""


def refuse_unstorable(text: str) -> str:
    """Return ``text`` if PostgreSQL can store it.

    Raises:
        ValueError: if it contains NUL or a lone surrogate.
    """
    if "\x00" in text:
        raise ValueError("must not contain NUL (U+0000)")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must not contain lone surrogates") from None
    return text
