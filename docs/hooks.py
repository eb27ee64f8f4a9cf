"""What MkDocs asks while it builds: the pages that are written from other files of the project."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from docs import parameters
from docs.third_party import notice

ROOT_PAGES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
LINK = re.compile(r"\]\((?!https?:|#)(?:docs/)?([^)]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages: parameters, third parties, and the pages that lie beside README.md."""
    root = Path(config.config_file_path).parent
    texts = {
        "reference/parameters.md": parameters.page(root),
        "third-party.md": f"# Third parties\n\n```text\n{notice(root)}```\n",
        **{
            page: LINK.sub(r"](\1)", (root / source).read_text("utf-8"))
            for page, source in ROOT_PAGES.items()
        },
    }
    for page, text in texts.items():
        files.append(File.generated(config, page, content=text))
    return files
