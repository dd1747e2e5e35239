"""Names of results and parameters as words."""

from __future__ import annotations

ABBREVIATIONS = {"bed", "eqd2", "flair", "geud", "ntcp", "nmi", "pet", "suv", "tcp"}


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


def digits(value: float) -> str:
    """A number to three digits, without powers of ten as far as readers can do without.

    >>> digits(1112.6), digits(0.012345), digits(3.2e-9), digits(0)
    ('1113', '0.0123', '<0.001', '0')
    """
    if 1000 <= abs(value) < 1e6:
        return f"{value:.0f}"
    if 0 < abs(value) < 1e-3:
        return "<0.001" if value > 0 else ">-0.001"
    return f"{value:.3g}"
