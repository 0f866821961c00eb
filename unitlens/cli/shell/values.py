"""What the values of options may be: numbers, sizes, bands, ranges, parts and bytes."""

from typing import TYPE_CHECKING, Any

import click

from unitlens.errors import is_number

if TYPE_CHECKING:
    from unitlens.data.reading import Part


class Numbers(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """Numbers such as 0.485,0.456,0.406."""

    name = "R,G,B,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Read them, one for each band; a single number stands for all."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not numbers such as 0.485,0.456,0.406, one for each band", param, ctx)


class BandNumbers(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """Bands such as 4,3,2."""

    name = "N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read them."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(is_number(part) and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is not bands such as 4,3,2, counted from 1", param, ctx)
        return tuple(map(int, parts))


class Size(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """One number, or rows and columns such as 56x42."""

    name = "N|HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read it as (rows, columns)."""
        if isinstance(value, tuple):
            return value
        parts = str(value).lower().split("x")
        if len(parts) > 2 or not all(is_number(part) and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is not a size such as 56 or 56x42 (rows x columns)", param, ctx)
        return int(parts[0]), int(parts[-1])


class Shape(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """Sizes such as 100,1,1."""

    name = "N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read them."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).replace("x", ",").split(",")]
        sizes = [int(part) if is_number(part) else 0 for part in parts]
        if not all(sizes):
            self.fail(f"{value!r} is not a shape such as 100,1,1 or 512", param, ctx)
        return tuple(sizes)


class Range(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """Two numbers such as -1,1."""

    name = "LOW,HIGH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Read them."""
        if isinstance(value, tuple):
            return value
        try:
            low, high = (float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not two numbers such as -1,1", param, ctx)
        return low, high


class Shard(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """A part such as 2/8."""

    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Part":
        """Read it."""
        from unitlens.data.reading import Part

        if isinstance(value, Part):
            return value
        number, _, parts = str(value).partition("/")
        if not all(is_number(text) for text in (number, parts)) or len(parts) > 6 or int(parts) == 0:
            self.fail(f"{value!r} is not a part such as 2/8", param, ctx)
        if not 1 <= int(number) <= int(parts):
            self.fail(f"{value!r} is not a part; there are 1/{parts} to {parts}/{parts}", param, ctx)
        return Part(int(number) - 1, int(parts))


class Bytes(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """A number of bytes such as 20GB."""

    name = "BYTES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        text = str(value).strip().lower()
        number = text.rstrip("bkmgt ")
        unit = text[len(number) :].strip().removesuffix("b")
        try:
            count = int(float(number) * 1000 ** ["", "k", "m", "g", "t"].index(unit))
        except (ValueError, OverflowError):
            count = -1
        if count < 0:
            self.fail(f"{value!r} is not a number of bytes such as 20GB", param, ctx)
        return count
