"""Archives with images in them: what other programs export, and what is exported for them.

`importing.take_in` is the way in: it finds out by the content which kind an archive is. `exporting` is the way out.
"""
