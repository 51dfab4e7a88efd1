"""What tests of a backend need: a feed in memory, the contract suite, and a device that misbehaves on demand.

For tests only, ours and third parties'; nothing here can be selected by an operator.
"""

from .contract import DeviceContract
from .feed import FakeFeed, Template
from .synthetic import Fault, SyntheticDevice

__all__ = ["DeviceContract", "FakeFeed", "Fault", "SyntheticDevice", "Template"]
