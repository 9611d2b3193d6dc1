"""Hooks of MkDocs: add the READMEs and notebooks to the site, and point links to their pages there.

Files in ``docs/`` link to each other and to the READMEs by paths in the repository, as a code host expects.
"""

import posixpath
import re
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PAGES: Final = {
    "README.md": "index.md",
    "serving/README.md": "serving.md",
    "serving/deploy/nginx.conf": "deploy/nginx.conf",
    "serving/deploy/Caddyfile": "deploy/Caddyfile",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CODE_OF_CONDUCT.md": "code-of-conduct.md",
}
"""Files outside ``docs/``, and their paths in the site."""

RELATIVE_LINK: Final = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the files outside ``docs/`` to the site."""
    root = Path(config.config_file_path).parent
    notebooks = [file.relative_to(root).as_posix() for file in root.glob("notebooks/*.ipynb")]
    for source, target in (PAGES | dict(zip(notebooks, notebooks, strict=True))).items():
        if (root / source).is_file():
            files.append(File.generated(config, target, abs_src_path=str(root / source)))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Replace repository paths in links by paths in the site."""
    target = page.file.src_uri
    source = next((name for name, path in PAGES.items() if path == target), f"docs/{target}")

    def site_path(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        return posixpath.relpath(
            PAGES.get(path, path.removeprefix("docs/")), posixpath.dirname(target) or "."
        )

    return RELATIVE_LINK.sub(site_path, markdown)
