"""Images: what root filesystems are made of, where they are kept, and how they are built on this host.

`ImageStore` keeps them, `obtain` finds or builds one. Finding costs one small file; what builds is imported when
something is built.
"""

from cloison.images.building import obtain
from cloison.images.image import Facts, Image
from cloison.images.store import ImageStore

__all__ = ["Facts", "Image", "ImageStore", "obtain"]
