"""What the operator wants: read from command line, environment and file, every problem a sentence."""

from .endpoint import Endpoint
from .load import Loaded, load, reload
from .model import HOST, Configuration, Option, Pool, options
from .pool_url import SCHEMES, PoolUrl, PoolUrlError, Scheme
from .problems import ConfigError

__all__ = [
    "HOST",
    "SCHEMES",
    "ConfigError",
    "Configuration",
    "Endpoint",
    "Loaded",
    "Option",
    "Pool",
    "PoolUrl",
    "PoolUrlError",
    "Scheme",
    "load",
    "options",
    "reload",
]
