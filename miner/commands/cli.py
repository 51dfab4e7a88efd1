"""`miner`: parses the command line, loads the configuration and runs the command."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from backends.base import BackendError, Host
from miner.books import state_dir
from miner.books.state_dir import StateError, locate
from miner.commands.arguments import Arguments, parse
from miner.commands.devices import plain
from miner.commands.devices import standing as standing_of
from miner.commands.exit_codes import ExitCode
from miner.config import ConfigError, Configuration, Loaded, load
from miner.logs import output as logs
from miner.metrics_guard import guard_of
from miner.printable import printable
from miner.rig import locks
from miner.rig.interlock import SILENT_S, why_open_within
from miner.rig.inventory import Inventory, take_inventory
from miner.rig.selection import SelectionError, rest_text, select
from miner.sources.base import Source, SourceError
from miner.telemetry.guard import TelemetryError

LEFT_BEHIND_S = 0.5  # a thread that is about to end gets so long

log = structlog.get_logger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status. Wrong usage ends in SystemExit with 2."""
    try:
        return _main(argv)
    except KeyboardInterrupt:  # before mining listens, or in a command that only looks: the end, without a traceback
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)  # so that a shell's loop ends as well
        raise


def _main(argv: Sequence[str] | None) -> int:
    arguments = parse(sys.argv[1:] if argv is None else argv)
    if "list" in arguments.flags.get("virtual", ()):
        return _virtual_boards()
    try:
        loaded = load(arguments.flags, os.environ, Path.cwd(), file=arguments.config)
    except ConfigError as error:
        for problem in str(error).splitlines():
            _complain(problem)
        return ExitCode.USAGE
    configuration = loaded.configuration
    logs.configure(configuration.log_format, configuration.log_level, secrets=configuration.secrets)
    try:
        status = _run(arguments, loaded)
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        # Whoever reads has seen enough, as in miner devices | head, or the terminal is gone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        return ExitCode.FAILED
    return status


def _run(arguments: Arguments, loaded: Loaded) -> int:
    configuration = loaded.configuration
    match arguments.command:
        case "devices":
            return _devices(configuration, as_json=arguments.json)
        case "check":
            return _check(loaded)
        case "ledger":
            return _ledger(configuration, as_json=arguments.json)
        case "off":
            return _off(configuration)
        case "unlatch":
            return _unlatch(configuration, arguments.serial or "")
        case "mine":
            return _mine(arguments, loaded)


def _mine(arguments: Arguments, loaded: Loaded) -> int:
    gc.disable()  # modules loaded at the start are no garbage; searching them takes a tenth of the start
    from miner.commands.mine import mine  # noqa: PLC0415  the other commands answer without loading what mining needs

    before = threading.enumerate()
    try:
        status = mine(arguments, loaded)
    finally:
        gc.enable()
    if busy := _left_behind(before):
        # A compiler or a longpoll cannot be interrupted, and Python's own clean-up would crash it.
        log.debug("left_behind", threads=busy)
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # a terminal that is gone
                stream.flush()
        os._exit(status)
    return status


def _left_behind(before: Sequence[threading.Thread]) -> list[str]:
    """The names of the daemon threads that mining began and that do not end within LEFT_BEHIND_S."""
    until = time.monotonic() + LEFT_BEHIND_S
    mine = [thread for thread in threading.enumerate() if thread.daemon and thread not in before]
    for thread in mine:
        thread.join(max(0.0, until - time.monotonic()))
    return [thread.name for thread in mine if thread.is_alive()]


def _devices(configuration: Configuration, *, as_json: bool) -> int:
    state = _state_to_look_at(configuration)
    inventory = take_inventory(configuration, Host(state))
    folders, now = locks.lock_folders(state, os.environ), time.time()
    standings = [
        standing_of(info, locks.holder(info, folders), now, consented=configuration.consented)
        for info in inventory.infos
    ]
    if as_json:
        rows = [
            {"index": index, **plain(info), "would_mine": reason is None, "reason": reason}
            for index, (info, (_, reason)) in enumerate(zip(inventory.infos, standings, strict=True))
        ]
        print(json.dumps({"devices": rows, "failures": list(inventory.failures)}, indent=2))
    else:
        for index, (info, (standing, reason)) in enumerate(zip(inventory.infos, standings, strict=True)):
            mark = " (emulated)" if info.virtual else ""
            print(printable(f"{index}  {info.id}  {info.kind}  {info.model}{mark}"))
            print(printable(f"   {standing}" if reason is None else f"   {standing}: {reason}"))
            for name, text in info.details:
                print(printable(f"   {name}: {text}"))
        _print_failures(inventory)
    return ExitCode.DONE if inventory.infos else ExitCode.FAILED


def _state_to_look_at(configuration: Configuration) -> Path | None:
    try:
        return locate(configuration.state_dir, os.environ)
    except StateError:  # nothing is remembered where there is no place for it
        return None


def _print_failures(inventory: Inventory) -> None:
    for failure in inventory.failures:
        _complain(failure)
    if not inventory.infos:
        _complain("; ".join(["no device was found", *inventory.hints]))


def _check(loaded: Loaded) -> int:
    from miner.assembly.meters import try_meters  # noqa: PLC0415  as above
    from miner.assembly.sources import build_sources  # noqa: PLC0415

    configuration = loaded.configuration
    clean = logs.Redaction(configuration.secrets).clean  # what pools and meters say may repeat what they were told
    sound = True
    first = None
    print(f"configuration: in order ({loaded.file or 'no file'})")
    for warning in loaded.warnings:
        print(f"  note: {warning}")
    try:
        guard_of(configuration)
    except TelemetryError as error:
        _complain(str(error))
        sound = False
    if path := configuration.safety.interlock:
        why = why_open_within(path, SILENT_S)
        print(printable(f"interlock {path}: " + (f"open, no device would start: {why}" if why else "closed")))
    state = _state_to_look_at(configuration)  # where it is noted what is latched or rests
    inventory = take_inventory(configuration, Host(state))
    folders = locks.lock_folders(state, os.environ)
    for failure in inventory.failures:
        _complain(failure)
    try:
        selection = select(inventory.infos, configuration.device, consented=configuration.consented)
        first = next((info.id for info in selection.chosen), None)
        for info in selection.chosen:
            driver = locks.holder(info, folders)
            would = (
                "would mine" if info.resting is None else f"would mine later: {rest_text(info.resting, time.time())}"
            )
            print(printable(f"device {info.id}: {f'in use by {driver}' if driver else would} ({info.model})"))
        for info, reason in selection.passed_over:
            print(printable(f"device {info.id}: would not mine: {reason}"))
    except SelectionError as error:
        _complain(str(error))
        sound = False
    try:
        sources = build_sources(configuration, journal_folder=None, rate=lambda: None, first_device=first)
    except SourceError as error:
        _complain(str(error))
        return ExitCode.USAGE
    for (pool, _), source in sources.items():
        try:
            for finding in asyncio.run(_reach(source)):
                print(printable(clean(finding)))
        except SourceError as error:
            _complain(clean(f"{pool.url}: {error}"))
            sound = False
    for finding, known in try_meters(configuration):
        if known:
            print(printable(clean(finding)))
        else:
            _complain(clean(finding))
            sound = False
    return ExitCode.DONE if sound else ExitCode.FAILED


def _ledger(configuration: Configuration, *, as_json: bool) -> int:
    from miner.books.ledger import LedgerError, read, rendered  # noqa: PLC0415  as above

    try:
        folder = state_dir.locate(configuration.state_dir, os.environ) / "ledger"
        days = read(folder)
    except (LedgerError, StateError) as error:
        _complain(str(error))
        return ExitCode.FAILED
    if as_json:
        print(json.dumps([day.plain() for day in days], indent=2))
    elif days:
        for line in rendered(days):
            print(printable(line))
    else:
        print(printable(f"nothing is in the ledger yet ({folder})"))
    return ExitCode.DONE


def _off(configuration: Configuration) -> int:
    from miner.rig.off import turn_off  # noqa: PLC0415  as above

    outcomes = list(turn_off(configuration, os.environ))
    for sentence, is_off in outcomes:
        (print if is_off else _complain)(printable(sentence))
    if not outcomes:
        print("nothing is plugged in that would have to be turned off")
    return ExitCode.DONE if all(is_off for _, is_off in outcomes) else ExitCode.FAILED


def _unlatch(configuration: Configuration, serial: str) -> int:
    from miner.rig.off import unlatch  # noqa: PLC0415  as above

    try:
        was = unlatch(configuration, os.environ, serial)
    except (BackendError, StateError) as error:
        _complain(str(error))
        return ExitCode.FAILED
    if not was:
        _complain(f"{serial} is not kept off; `miner devices` shows what is")
        return ExitCode.FAILED
    print(printable(f"{serial}: may start again; restart its miner, or unplug and replug it"))
    return ExitCode.DONE


def _virtual_boards() -> int:
    from backends.asic.virtual import Fault, catalogue  # noqa: PLC0415  as above

    for kind in catalogue():
        print(f"{kind.name:14} {kind.title}: {kind.chips} x {kind.chip.name}")
    print(f"to each: ,serial=TEXT and ,fault=NAME[:NUMBER] of {', '.join(Fault)}")
    return ExitCode.DONE


async def _reach(source: Source) -> list[str]:
    return await source.check()


def _complain(sentence: str) -> None:
    print(printable(f"miner: {sentence}"), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
