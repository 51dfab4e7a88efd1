"""USB miners. Floors of their own: `usb/` (bridges, discovery) under `chips/` (codecs without I/O) under `boards/`.

`virtual/` stands apart: emulated boards, made from the same reference as the drivers and sharing no code with them.
"""
