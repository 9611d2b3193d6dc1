"""READMEs and docs name only commands, options, parameters, variables and files that exist."""

import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from fb_marketplace import __version__

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
FILES = [
    ROOT / "serving/README.md",
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
MAX_README_WORDS = 900
CODE = re.compile(r"^```\w*\n(?P<block>.*?)^```|(?P<ticks>`+)(?P<span>.+?)(?P=ticks)", re.S | re.M)
COMMAND = re.compile(r"(?<![\w/.:=-])(?:\S*/bin/)?(kedro|fb-marketplace|fb-serve|make) (?=[a-z])")
LINK = re.compile(r"\]\((?![a-z]+:)([^)\s]*)\)")


@functools.cache
def read(file: Path) -> str:
    text = file.read_text("utf-8")
    if file.stem == "CHANGELOG":  # columns before the last have names of version 0.1
        text = re.sub(r"^\|.*\|(?=[^|\n]+\|$)", "|", text, flags=re.MULTILINE)
    return text


def code(file: Path) -> str:
    """Return the blocks and spans of code without comments, one command per line."""
    parts = (match["block"] or match["span"] for match in CODE.finditer(read(file)))
    return re.sub(r"(?<!\S)#.*", "", "\n".join(parts).replace("\\\n", " "))


def commands(file: Path, *names: str) -> Iterator[list[str]]:
    """Yield the words of each command with one of the names."""
    for line in code(file).splitlines():
        for match in COMMAND.finditer(line):
            if match[1] in names:
                command = re.split(r"&&|\|\||[;|)']|\s>", line[match.start(1) :])[0]
                yield shlex.split(command)


def option_values(file: Path, option: str) -> list[tuple[str, list[str]]]:
    """Return the pipeline and the comma-separated values for each use of an option of `kedro run`."""
    result = []
    for words in commands(file, "kedro"):
        options = dict(
            word.split("=", 1) for word in words if word.startswith("--") and "=" in word
        )
        if option in options:
            pipeline = options.get("--pipeline", "__default__")
            result.append((pipeline, options[option].split(",")))
    return result


def slugs(file: Path) -> set[str]:
    """Return the anchors of a file, as code hosts make them."""
    text = re.sub(r"^```.*?^```", "", read(file), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture(scope="module")
def pipelines() -> dict[str, Any]:
    from fb_marketplace.pipeline_registry import register_pipelines

    return register_pipelines()


@pytest.fixture(scope="module")
def sources() -> str:
    """The code and configuration, in which every documented variable occurs."""
    places = [
        "src",
        "serving/src",
        "serving/deploy/airflow",
        "conf",
        "Makefile",
        "docker-compose.yml",
    ]
    files = [
        file
        for place in places
        for file in [ROOT / place, *(ROOT / place).rglob("*")]
        if file.is_file() and file.suffix in {".py", ".yml", ""}
    ]
    return "\n".join(file.read_text("utf-8") for file in files)


@pytest.fixture(scope="module")
def command_line() -> dict[str, dict[str, set[str]]]:
    """The options of each subcommand, by program."""
    import argparse

    from fb_marketplace.cli import cli
    from fb_marketplace_serving.cli.main import _parser

    (serve,) = (
        action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    project = {
        name: {flag for option in command.params for flag in option.opts}
        for name, command in cli.commands.items()
        if isinstance(command, click.Command)
    }
    server = {name: set(parser._option_string_actions) for name, parser in serve.choices.items()}
    return {"fb-marketplace": project, "kedro": project, "fb-serve": server}


def test_changelog_and_citation_have_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))

    assert f"## {__version__} ({citation['date-released']})" in read(ROOT / "CHANGELOG.md")
    assert citation["version"] == __version__


def test_readme_is_short():
    assert len(README.read_text("utf-8").split()) <= MAX_README_WORDS


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
class TestDocs:
    def test_make_targets_exist(self, file):
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
        words = {word for words in commands(file, "make") for word in words[1:2]}

        assert {word for word in words if re.fullmatch(r"[a-z-]+", word)} <= targets

    def test_pipelines_exist(self, file, pipelines):
        names = {pipeline for pipeline, _ in option_values(file, "--pipeline")}

        assert names <= set(pipelines)

    def test_nodes_and_tags_exist(self, file, pipelines):
        for option in ("--nodes", "--from-nodes", "--to-nodes", "--tags"):
            for pipeline, values in option_values(file, option):
                nodes = pipelines[pipeline].nodes
                known = {tag for node in nodes for tag in node.tags}
                if option != "--tags":
                    known = {node.name.rpartition(".")[2] for node in nodes}

                assert set(values) <= known

    def test_parameters_exist(self, file, base_parameters):
        options = re.findall(r"--params=(\S+)", code(file))
        keys = {value.partition("=")[0] for option in options for value in option.split(",")}
        keys |= {
            key
            for key in re.findall(r"`([a-z_]+\.[a-z_.]+)(?:=[^`]*)?`", read(file))
            if key.partition(".")[0] in base_parameters and not key.endswith((".json", ".py"))
        }
        for key in keys - {"raw", "lake"}:
            section = base_parameters
            for part in key.split("."):
                assert part in section, f"{key} is no parameter"
                section = section[part]

    def test_subcommands_and_options_exist(self, file, command_line):
        for program, *words in commands(file, *command_line):
            subcommands = command_line[program]
            if program == "kedro" and words[0] not in subcommands:
                assert words[0] in ("registry", "jupyter", "viz")
                continue
            assert words[0] in subcommands
            options = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert options <= subcommands[words[0]]

    def test_variables_exist(self, file, sources):
        variables = re.findall(r"\bFB_[A-Z_]+\b", read(file))
        fields = sources.lower()

        # The server's settings are fields without the prefix.
        assert [
            name
            for name in set(variables)
            if name not in sources and f"    {name[3:].lower()}:" not in fields
        ] == []

    def test_quoted_errors_exist(self, file, sources):
        quotes = [span for span in code(file).splitlines() if re.search(r"… \w|\w:? …", span)]
        fragments = {part.strip(" ;:") for span in quotes for part in span.split("…")}
        messages = re.sub(r'"\s*\n\s*f?"', "", sources)

        assert [part for part in fragments if " " in part and part not in messages] == []

    def test_links_and_anchors_resolve(self, file):
        for link in LINK.findall(re.sub(r"^```.*?^```", "", read(file), flags=re.S | re.M)):
            path, _, anchor = link.partition("#")
            target = (file.parent / path).resolve() if path else file
            assert target.exists(), link
            assert not anchor or anchor in slugs(target), link
