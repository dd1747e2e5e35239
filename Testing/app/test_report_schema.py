"""results.json: its schema, its page in docs/ and the words of the report speak of the same keys."""

import json
import re
from pathlib import Path

from TwinApp.wording import LABELS

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "TwinApp/results_schema.json").read_text("utf-8"))
PAGE = (ROOT / "docs/results.md").read_text("utf-8")


def documented(section=""):
    part = PAGE if not section else PAGE.split(f"## {section}")[1].split("\n## ")[0]
    first_cells = re.findall(r"^\| ([^|]+) \|", part, re.M)
    return {name for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_top_level_key_is_documented():
    assert set(SCHEMA["required"]) <= set(SCHEMA["properties"]) <= documented()
    assert SCHEMA["properties"]["schema"]["const"] in PAGE


def test_every_labelled_result_is_documented():
    sections = documented("Images and registration") | documented("Anatomy")
    assert set(LABELS) == sections - {"verdict", "verdict_reasons"}


def test_references_inside_the_schema_lead_somewhere():
    references = re.findall(r'"#/\$defs/(\w+)"', json.dumps(SCHEMA))
    assert set(references) == set(SCHEMA["$defs"])
