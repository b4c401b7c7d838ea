"""The site of these documents and of the docstrings: ``make docs``."""

project = "scancontrol"
author = "the scancontrol team"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "scancontrol"

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
myst_links_external_new_tab = True
suppress_warnings = [
    "myst.xref_missing",  # links to files of the repository that are no pages, such as configurations
    "ref.class",  # roles in docstrings that name what is not in the reference
    "ref.python",  # one name that two modules offer
    "misc.highlighting_failure",
]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Arguments", "params_style"), ("Attributes", "params_style")]
