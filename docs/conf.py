"""How Sphinx builds the documentation: `make docs`."""

import importlib
import inspect
import sys

from sphinx.pycode import ModuleAnalyzer

import iedr_geo

project = 'iedr_geo'
author = 'iedr_geo authors'
copyright = author
version = release = iedr_geo.__version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.autosummary',
    'sphinx.ext.mathjax',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
]
exclude_patterns = ['_build']
templates_path = ['_templates']
highlight_language = 'text'  # A fence without a language is what a snippet prints.

myst_enable_extensions = ['dollarmath']
myst_heading_anchors = 3

autosummary_generate = False
autodoc_default_options = {'members': True, 'member-order': 'bysource'}
autodoc_typehints_format = 'short'
napoleon_custom_sections = ['Shapes']
napoleon_use_rtype = False
python_maximum_signature_line_length = 80

html_theme = 'furo'
html_title = f'iedr_geo {release}'
html_static_path = ['_static']
html_css_files = ['custom.css']
html_show_sphinx = False


def exports(module):
    """Returns what a module exports by its package, and autodoc's directive for each."""
    found = importlib.import_module(module)
    public = importlib.import_module('.'.join(module.split('.')[:2])).__all__
    return {
        name: 'autoclass'
        if inspect.isclass(value := getattr(found, name))
        else 'autofunction'
        if inspect.isroutine(value)
        else 'autodata'
        for name in found.__all__
        if name in public
    }


def render_package(app, docname, source):
    """Renders the pages of packages, which list what the packages export."""
    if docname.startswith('modules/'):
        context = {
            'package': docname.replace('modules/', 'iedr_geo.'),
            'exports': exports,
        }
        source[0] = app.builder.templates.render_string(source[0], context)


def document_data(app, what, name, obj, options, lines):
    """Finds what is said of data where it is defined, not where it is exported."""
    if what == 'data':
        package, _, short = name.rpartition('.')
        inside = [module for module in sys.modules if module.startswith(f'{package}.')]
        docs = (ModuleAnalyzer.for_module(module).find_attr_docs() for module in inside)
        lines[:] = next((own['', short] for own in docs if ('', short) in own), [])


def skip_fields(app, what, name, obj, skip, options):
    """Leaves out fields of named tuples of which nothing but their number is said."""
    return skip or (getattr(obj, '__doc__', None) or '').startswith('Alias for field')


def find_elsewhere(app, env, node, contnode):
    """Resolves names that docstrings give without the package that exports them."""
    if node.get('reftype') in ('class', 'func', 'meth') and 'refspecific' not in node:
        node['refspecific'] = True
        arguments = node['refdoc'], app.builder, node['reftype'], node['reftarget']
        return env.get_domain('py').resolve_xref(env, *arguments, node, contnode)
    return None


def setup(app):
    app.connect('source-read', render_package)
    app.connect('autodoc-process-docstring', document_data)
    app.connect('autodoc-skip-member', skip_fields)
    app.connect('missing-reference', find_elsewhere)
