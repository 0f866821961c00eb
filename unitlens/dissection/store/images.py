"""The images of a store: a line for each, and commits that count them with all that was made of them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from itertools import chain
from typing import Any

from unitlens.data.batches import ImageRecord, Reached, check_names
from unitlens.data.reading import Unread, note_unread
from unitlens.dissection.store.documents import check_line
from unitlens.dissection.store.folder import Arrays, Store
from unitlens.dissection.store.rows import sound
from unitlens.errors import UnitlensError, spelled
from unitlens.files import held_back
from unitlens.packed import Known
from unitlens.progress import tell
from unitlens.stats.blocks import in_blocks

_IMAGES_AT_ONCE = 1024


class StoredImages:
    """What was read of a data set, kept in a store.

    A loop over `unitlens.data.batches.Batches` calls `settle` after each batch whose images are in the store, and
    `commit` where the store is due and at the end. What is not settled does not count: a pass that fails in the middle
    of a batch may still commit.

    Parameters
    ----------
    store : Store
    record : ImageRecord
        What is read, as `Batches` keeps it; of a store that has images, what was read until its last commit.

    Attributes
    ----------
    store, record
    settled : Reached
        How far the record had come when it was settled last.
    """

    def __init__(self, store: Store, record: ImageRecord) -> None:
        self.store, self.record = store, record
        self.settled = record.reached
        self._committed = record.reached if store.manifest.looked_at else Reached()

    @classmethod
    def reopen(cls, store: Store) -> "StoredImages":
        """Read the images of a store as they were at its last commit."""
        return cls(store, read_record(store))

    def settle(self) -> None:
        """Let all that was read so far count at the next commit, as it is in the store now."""
        self.settled = self.record.reached

    def commit(self, *, complete: bool = False, arrays: Mapping[str, Arrays] | None = None) -> None:
        """Let all that was settled count, whatever becomes of this process.

        Parameters
        ----------
        complete : bool
            Whether these are all images.
        arrays : mapping of str to mapping of str to array, optional
            What was computed of the settled images; see `Store.commit`.
        """
        record, before, now = self.record, self._committed, self.settled
        with held_back():
            new = range(before.images, now.images)
            read = chain.from_iterable(_lines(record, new[some]) for some in in_blocks(len(new), _IMAGES_AT_ONCE))
            unread = ({"unread": one._asdict()} for one in record.unread[before.unread : now.unread])
            self.store.lines.append(
                chain(read, unread)
            )  # all or none: where the disk is full, there may be another attempt
            self._committed = now
            self.store.commit(
                images=now.images,
                looked_at=now.looked_at,
                seconds=record.seconds,
                complete=complete,
                arrays=arrays,
            )


def join_records(records: Sequence[ImageRecord]) -> ImageRecord:
    """The record of all images from those of consecutive parts.

    Raises
    ------
    UnitlensError
        If two images have one name.
    """
    joined, known = ImageRecord(0), Known()
    for record in records:
        check_names(record.names, known, joined.names)
        for field in fields(ImageRecord):
            value = getattr(joined, field.name)
            value += getattr(record, field.name)
            setattr(joined, field.name, value)
    return joined


@contextmanager
def going_on(kept: StoredImages, *, show: bool) -> Iterator[None]:
    """Keep what is settled when the loop inside of the ``with`` is stopped, by whatever; a note of the error says so.

    Parameters
    ----------
    kept : StoredImages
        Its store may be a temporary one, of which nothing is kept.
    show : bool
        Whether it is told from where a loop goes on that was stopped before.
    """
    store, record = kept.store, kept.record
    if show and record.looked_at:
        tell(f"goes on after image {record.looked_at:,} of {record.total:,}")
    try:
        yield
    except BaseException as error:
        if store.lasting:
            if kept.settled.images:
                with suppress(Exception):  # as of a full disk: what was committed before counts
                    kept.commit()
            if done := store.manifest.looked_at:
                again = spelled(python="the same call with the same checkpoint=", shell="the same command")
                error.add_note(f"Kept up to image {done:,} of {record.total:,}: {again} goes on from there.")
        raise


def read_record(store: Store) -> ImageRecord:
    """The record of the images of a store."""
    record = ImageRecord(0, looked_at=store.manifest.looked_at, seconds=store.manifest.seconds)
    with sound(store.folder):
        for line in store.lines:
            check_line(line)
            _read_line(line, record)
        if len(record.names) != store.manifest.images:
            raise UnitlensError(f"it has lines of {len(record.names)} images, and counts {store.manifest.images}")
        if len(record.fingerprints) not in (0, len(record.names)):
            raise UnitlensError("it has fingerprints of some images alone")
    return record


def _read_line(line: Mapping[str, Any], record: ImageRecord) -> None:
    """Add what a line of the store says to a record."""
    record.total += 1
    if "unread" in line:
        record.unread += note_unread([Unread(**line["unread"])])
        return
    record.names.append(line["name"])
    record.classes.append(line["class"])
    record.digests.append(bytes.fromhex(line["sha256"]))
    record.hashes.append(line["hash"])
    record.groups.append(line["group"])
    record.indices.append(line["index"])
    if "fingerprint" in line:
        record.fingerprints.append(bytes.fromhex(line["fingerprint"]))
        record.annotated.append(line["annotated"])


def _lines(record: ImageRecord, images: range) -> Iterator[dict[str, Any]]:
    """What is known of some images, as lines of the store."""
    some = slice(images.start, images.stop)
    columns: dict[str, list[Any]] = {
        "name": record.names[some],
        "index": record.indices[some],
        "class": record.classes[some],
        "hash": record.hashes[some],
        "group": record.groups[some],
        "sha256": [digest.hex() for digest in record.digests[some]],
    }
    # of the others, which are latents, nobody has looked yet at what is drawn from them
    columns_of_seen: dict[str, list[Any]] = {
        "annotated": record.annotated[some],
        "fingerprint": [fingerprint.hex() for fingerprint in record.fingerprints[some]],
    }
    for place in range(len(images)):
        line = {name: values[place] for name, values in columns.items()}
        if place < len(columns_of_seen["fingerprint"]):
            line |= {name: values[place] for name, values in columns_of_seen.items()}
        yield line
