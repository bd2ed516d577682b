"""Templates: how images are built on this host."""

from cloison.images.templates.registry import template, templates
from cloison.images.templates.template import Option, Progress, Request, Template

__all__ = ["Option", "Progress", "Request", "Template", "template", "templates"]
