"""Builds the access to the metrics from the configuration: `miner check` tries it, `mine` serves with it."""

from __future__ import annotations

import stat
from pathlib import Path

import structlog

from miner.config import ConfigError, Configuration
from miner.config.files import read_secret
from miner.telemetry.guard import Access, Login, TelemetryError, tls_context

log = structlog.get_logger(__name__)


def guard_of(configuration: Configuration) -> Access:
    """Read password, certificate and key. Raises TelemetryError, which says what is wrong with them."""
    login, tls = None, None
    if configuration.metrics_user and configuration.metrics_password_file:
        path = configuration.metrics_password_file
        try:
            password, open_to_all = read_secret(path)
        except ConfigError as error:
            raise TelemetryError(f"metrics_password_file: {error}") from error
        if open_to_all:
            _warn("metrics_password_file", path)
        login = Login(configuration.metrics_user, password)
    if configuration.metrics_cert and configuration.metrics_key:
        tls = tls_context(configuration.metrics_cert, configuration.metrics_key)
        if configuration.metrics_key.stat().st_mode & stat.S_IROTH:
            _warn("metrics_key", configuration.metrics_key)
    return Access(login, tls)


def _warn(key: str, path: Path) -> None:
    log.warning("secret_open_to_all", key=key, file=str(path), hint="everybody on this machine can read it; chmod 600")
