"""A stream of bytes, taken in the portions that its reader wants."""

from collections.abc import Iterator

from cloison.base.errors import Invalid


class Truncated(Invalid):
    """The stream ends in the middle of something."""


class Source:
    """Bytes out of chunks of any size. `position` counts what was taken."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._at = 0
        self.position = 0

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes. Raises Truncated."""
        end = self._at + count
        if end <= len(self._chunk):
            taken = self._chunk[self._at : end]
            self._at = end
            self.position += count
            return taken
        return b"".join(self.pieces(count))

    def take_or_end(self, count: int) -> bytes:
        """As `take`; b"" where the stream is at its end."""
        while self._at == len(self._chunk):
            if not self._more():
                return b""
        return self.take(count)

    def take_padding(self, count: int) -> bytes:
        """As `take`, or nothing where the stream ends here: umoci leaves the last padding away, and the end's mark."""
        first = self.take_or_end(1)
        return first + self.take(count - 1) if first else b""

    def pieces(self, count: int) -> Iterator[memoryview]:
        """The next `count` bytes, in pieces that are not copied. Raises Truncated."""
        while count:
            if self._at == len(self._chunk) and not self._more():
                raise truncated()
            piece = memoryview(self._chunk)[self._at : self._at + count]
            self._at += len(piece)
            self.position += len(piece)
            count -= len(piece)
            yield piece

    def skip(self, count: int) -> None:
        """Pass over the next `count` bytes. Raises Truncated."""
        for _ in self.pieces(count):
            pass

    def rest(self) -> Iterator[bytes]:
        """All that is left."""
        while True:
            if self._at < len(self._chunk):
                piece = self._chunk[self._at :]
                self._at = len(self._chunk)
                self.position += len(piece)
                yield piece
            if not self._more():
                return

    def _more(self) -> bool:
        """Go on to the next chunk; False at the end."""
        for chunk in self._chunks:
            if chunk:
                self._chunk, self._at = chunk, 0
                return True
        return False


def truncated(why: str = "it ends in the middle") -> Truncated:
    """The error for a stream that ends too early."""
    return Truncated(f"the archive is truncated: {why}", hint="copy or download it again")
