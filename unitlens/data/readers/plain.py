"""A plain folder of pictures, without anything marked."""

from pathlib import Path

from unitlens.data.readers.files import names_under, subfolders
from unitlens.data.readers.marked import MarkedPictures, chosen_splits
from unitlens.errors import UnitlensError


def pictures_only(folder: str | Path) -> MarkedPictures:
    """Open a folder of pictures in which nothing is marked, for concepts that are computed.

    Parameters
    ----------
    folder : str or Path
        Pictures, also in subfolders; a picture's name is its path under the folder. Where all lie in subfolders, theirs
        is their class.

    Raises
    ------
    UnitlensError
        If there is no such folder, or no picture in it.
    """
    return open_pictures(Path(folder))


def is_pictures(root: Path) -> bool:
    """Whether there is any picture."""
    return bool(names_under(root))


def open_pictures(root: Path, *, split: str | None = None) -> MarkedPictures:
    """Open a folder of pictures; a split is one of its subfolders."""
    if not root.is_dir():
        raise UnitlensError(f"There is no folder {root}.")
    names = names_under(root)
    if split is not None:
        chosen_splits(split, subfolders(root), root)
        names = [name for name in names if name.split("/")[0] == split]
    if not names:
        raise UnitlensError(f"{root} holds no picture: put files such as NAME.jpg or NAME.png into it.")
    folders = {name: name.rpartition("/")[0] for name in names}
    classes = folders if all(folders.values()) else {}
    return MarkedPictures("pictures", root, root, tuple(names), (), class_of=classes)
