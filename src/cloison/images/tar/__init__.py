"""The tar format, read as it comes: old, ustar, GNU and PAX, with sparse files of every kind.

`tarfile` of the standard library is not used: it takes five times as long for each member, and it keeps no bytes of
the stream, of which a layer's skeleton is made (see `cloison.images.skeleton`).
Source: tar(5) of libarchive; POSIX.1-2001, pax, "ustar Interchange Format"; GNU tar manual, "Tar Internals".
"""
