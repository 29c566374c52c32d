"""A file of records that is complete, packed: the same text in a fifth of the space.

    pack("course/runs/phase.jsonl")        leaves phase.jsonl.gz; `ledger.load` reads either
    unpack("course/runs/phase.jsonl")      puts the text back, for a sweep to go on with

Never both: the one that is made takes the place of the other.
"""

import gzip
import zlib
from pathlib import Path

from matchlib.record import RunError, write_whole


def packed(path: str | Path) -> Path:
    """Where the records of a file lie when they are packed."""
    return Path(f"{path}.gz")


def pack(path: str | Path) -> None:
    """Put the packed file in the place of a file of records; the same records always make the same bytes."""
    write_whole(packed(path), gzip.compress(Path(path).read_bytes(), mtime=0))
    Path(path).unlink()


def unpack(path: str | Path) -> None:
    """Put back the file of records that `pack` packed, where there is none; nothing where there is no packed one."""
    if packed(path).exists() and not Path(path).exists():
        write_whole(Path(path), unpacked(path))
        packed(path).unlink()


def unpacked(path: str | Path) -> bytes:
    """What a packed file holds. Raises RunError where it is damaged."""
    try:
        return gzip.decompress(packed(path).read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise RunError(f"{packed(path)} cannot be unpacked ({error}): restore it, or run the sweep again.") from None
