"""Sphinx's configuration. `sphinx-build -W docs <folder>` builds the site, with every warning an error."""

import sys
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent), str(DOCS)]  # this checkout, whatever is installed

from settings_page import page  # noqa: E402

from harl_isaac import __version__  # noqa: E402

project = "harl_isaac"
release = __version__
extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_math_renderer = "mathml"
html_show_copyright = False
exclude_patterns = ["_build"]
# Links to files beside the folder, which the repository shows and the site does not hold.
suppress_warnings = ["myst.xref_missing_file"]


def inline_equation(writer: HTML5Translator, node: nodes.math) -> None:
    """Write an equation within a line as MathML, which browsers show without a script."""
    writer.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block_equation(writer: HTML5Translator, node: nodes.math_block) -> None:
    """Write an equation of its own as MathML."""
    writer.body.append(convert(node.astext(), display="block"))
    raise nodes.SkipNode


def write_settings(app: Sphinx) -> None:
    """Make the page of settings, before Sphinx looks for pages."""
    (DOCS / "settings.md").write_text("\n".join(page()))


def setup(app: Sphinx) -> None:
    """Register the renderer of equations and the page of settings."""
    app.add_html_math_renderer("mathml", (inline_equation, None), (block_equation, None))
    app.connect("builder-inited", write_settings)
