"""Rules of style that no linter checks: names that are nouns or verbs, and plain docstrings."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [*(ROOT / "src").rglob("*.py"), *(ROOT / "serving/src").rglob("*.py")]
GRAMMAR_WORDS = frozenset(
    [
        "told",
        "said",
        "found",
        "asked",
        "made",
        "kept",
        "held",
        "wanted",
        "shown",
        "each",
        "there",
        "whole",
        "apart",
        "alike",
    ]
)
MAX_WHAT_PER_1000_WORDS = 2
MAX_MODULES_IN_A_FOLDER = 15


def assigned_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name


def docstrings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_word_of_grammar_is_a_name(file):
    assert GRAMMAR_WORDS.isdisjoint(assigned_names(ast.parse(file.read_text("utf-8"))))


def test_docstrings_have_few_headless_clauses():
    text = " ".join(t for file in SOURCES for t in docstrings(ast.parse(file.read_text("utf-8"))))
    rate = 1000 * len(re.findall(r"\bwhat\b", text, re.I)) / len(re.findall(r"\w+", text))

    assert rate <= MAX_WHAT_PER_1000_WORDS


@pytest.mark.parametrize(
    "folder", sorted({file.parent for file in SOURCES}), ids=lambda f: str(f.relative_to(ROOT))
)
def test_folder_holds_few_modules(folder):
    assert len([f for f in folder.glob("*.py") if f.stem != "__init__"]) <= MAX_MODULES_IN_A_FOLDER
