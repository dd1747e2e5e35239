"""Names of results and parameters as words."""

from __future__ import annotations

ABBREVIATIONS = {"bed", "eqd2", "geud", "ntcp", "nmi", "pet", "suv", "tcp"}


def sentence(words: str) -> str:
    """With a capital at its beginning; what follows keeps its own."""
    return words[:1].upper() + words[1:]


def name_in_words(name: str) -> str:
    """A name of code as words, abbreviations in capitals.

    >>> name_in_words("ntcp_spinal_cord")
    'NTCP spinal cord'
    """
    words = name.replace("_", " ").split()
    return sentence(" ".join(word.upper() if word in ABBREVIATIONS else word for word in words))
