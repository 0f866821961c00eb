"""A plain folder of images, without anything marked."""

from pathlib import Path

from unitlens.data.readers.files import names_under, subfolders
from unitlens.data.readers.marked import MarkedImages, chosen_splits
from unitlens.errors import UnitlensError


def images_only(folder: str | Path) -> MarkedImages:
    """Open a folder of images in which nothing is marked, for concepts that are computed.

    Parameters
    ----------
    folder : str or Path
        Images, also in subfolders; an image's name is its path under the folder. Where all lie in subfolders, theirs
        is their class.

    Raises
    ------
    UnitlensError
        If there is no such folder, or no image in it.
    """
    return open_images(Path(folder))


def is_images(root: Path) -> bool:
    """Whether there is any image."""
    return bool(names_under(root))


def open_images(root: Path, *, split: str | None = None) -> MarkedImages:
    """Open a folder of images; a split is one of its subfolders."""
    if not root.is_dir():
        raise UnitlensError(f"There is no folder {root}.")
    names = names_under(root)
    if split is not None:
        chosen_splits(split, subfolders(root), root)
        names = [name for name in names if name.split("/")[0] == split]
    if not names:
        raise UnitlensError(f"{root} holds no image: put files such as NAME.jpg or NAME.png into it.")
    folders = {name: name.rpartition("/")[0] for name in names}
    classes = folders if all(folders.values()) else {}
    return MarkedImages("images", root, root, tuple(names), (), class_of=classes)
