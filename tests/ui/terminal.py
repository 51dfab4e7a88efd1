"""A terminal in memory: just enough of ECMA-48 to see what a person would see, and strict about the rest."""

from __future__ import annotations

import io
import re

from rich.console import Console

_TOKEN = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])|([^\x1b])", re.DOTALL)


class Terminal(io.StringIO):
    """What was written, and the picture it makes. Anything but the sequences known here is an error."""

    def __init__(self, width: int = 80, height: int = 24) -> None:
        super().__init__()
        self.width, self.height = width, height
        self.alternate = False
        self.cursor = True
        self.normal: list[str] = [""]  # what stays in the scrollback
        self.screen = self._blank()
        self._x = self._y = 0
        self.writes = 0

    def console(self) -> Console:
        return Console(
            file=self, force_terminal=True, color_system="standard", width=self.width, height=self.height, _environ={}
        )

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.writes += 1
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            assert match, f"not understood: {text[position : position + 20]!r}"
            position = match.end()
            if match[3]:
                self._put(match[3])
            else:
                self._control(match[1], match[2])
        return super().write(text)

    def shown(self) -> str:
        """The alternate screen, as text."""
        return "\n".join("".join(row).rstrip() for row in self.screen).rstrip()

    def _blank(self) -> list[list[str]]:
        return [[" "] * self.width for _ in range(self.height)]

    def _put(self, character: str) -> None:
        if not self.alternate:
            if character == "\n":
                self.normal.append("")
            else:
                self.normal[-1] += character
            return
        assert character.isprintable() and self._x < self.width, "wrapped or scrolled"
        self.screen[self._y][self._x] = character
        self._x += 1

    def _control(self, values: str, kind: str) -> None:
        match values, kind:
            case "?1049", "h":
                self.alternate, self.screen = True, self._blank()
            case "?1049", "l":
                self.alternate = False
            case "?25", "h" | "l":
                self.cursor = kind == "h"
            case "2", "J":
                self.screen = self._blank()
            case "2", "K":
                self.screen[self._y] = [" "] * self.width
            case _, "H":
                y, x = (int(number) for number in (values or "1;1").split(";"))
                self._x, self._y = x - 1, y - 1
                assert self._y < self.height
            case _, "m":
                pass
            case _:
                raise AssertionError(f"not expected on this screen: CSI {values} {kind}")
