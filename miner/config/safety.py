"""`[safety]`: what keeps devices off, whatever else is wanted of them."""

from __future__ import annotations

from pydantic import Field

from .power import Table
from .text import File


class Safety(Table):
    """The table. It has no flags and no variables, so that the file alone decides."""

    interlock: File | None = Field(None, description="a file that must say 1 or closed, or all devices are off")
