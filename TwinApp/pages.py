"""What the HTML pages share: one look, and every word that is not our own escaped and tidied."""

from __future__ import annotations

import base64
from importlib import resources

import jinja2
from markupsafe import Markup

from TwinCore.units import in_words

from .wording import number, plain

GRADES = {"good": "✓", "check": "!", "failed": "✕"}
LONGEST_SENTENCE = 2000


def template(name: str) -> jinja2.Template:
    """A page's template, which escapes and tidies every word it prints, but for our own markup."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(_text),
        finalize=lambda words: words if isinstance(words, Markup) else plain(words, LONGEST_SENTENCE),
    )
    environment.filters["unit"] = in_words
    environment.filters["number"] = lambda value: number(float(value))
    environment.filters["base64"] = lambda data: Markup(base64.b64encode(data).decode("ascii"))
    environment.globals["style"] = Markup(_text("page.css"))
    environment.globals["grades"] = GRADES
    return environment.get_template(name)


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")
