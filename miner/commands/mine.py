"""The command `mine`: puts the parts together, runs them, and takes them apart in the right order."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGHUP
from typing import TextIO, cast

import structlog
from rich.console import Console

from miner.assembly.meters import alarms_for, metering_for
from miner.assembly.sources import Built, build_sources, build_strategy, weights
from miner.books import state_dir, summary
from miner.books.learnt import Learnt
from miner.books.ledger import Ledger, LedgerError
from miner.books.scribe import Scribe
from miner.books.share_log import ShareLog, ShareLogError
from miner.books.state_dir import StateDir, StateError
from miner.books.summary import SummaryError
from miner.commands.arguments import Arguments
from miner.commands.exit_codes import ExitCode
from miner.commands.job_control import JobControl
from miner.commands.sd_notify import Notifier
from miner.commands.signals import Answers, End, GoOn, Ignore, Leave, Reload, Signals, Status, Suspend
from miner.config import ConfigError, Configuration, Loaded, reload
from miner.engine.engine import Engine
from miner.engine.standstill import Standstill
from miner.logs import output as logs
from miner.metrics_guard import guard_of
from miner.power.errors import PowerError
from miner.rig import guard_notice
from miner.rig.interlock import Interlock
from miner.rig.rig import Rig
from miner.rig.selection import SelectionError
from miner.sources.base import Source, SourceError, SourceMisconfigured
from miner.telemetry.guard import TelemetryError
from miner.telemetry.snapshot import Snapshot
from miner.telemetry.totals import Totals
from miner.ui.display import Display
from miner.ui.lines import Reporter, status
from miner.ui.quantities import hash_rate
from miner.ui.screen import Screen, possible
from miner.ui.tail import Tail
from miner.ui.terminal import in_front, let_go
from miner.work.events import Finish
from miner.work.limits import Limits
from miner.work.manager import Manager
from miner.work.strategy import Quota

log = structlog.get_logger(__name__)

_LOADED_S = 10.0  # by then what mines has been loaded


def mine(arguments: Arguments, loaded: Loaded) -> int:
    """Mine until a limit, a signal or the last source's failure; the exit status."""
    with Signals() as signals:
        return _mine(arguments, loaded, signals)


def _mine(arguments: Arguments, loaded: Loaded, signals: Signals) -> int:
    configuration = loaded.configuration
    tail = Tail(sys.stderr)
    _configure_logs(configuration, tail)
    for warning in loaded.warnings:
        log.warning("configuration", text=warning)
    with ExitStack() as held:
        try:
            if configuration.summary:
                summary.check_writable(configuration.summary)
            state = _state(configuration, held)
            _tell_of_the_guard(state)
            run = _Run(arguments, loaded, state, held, tail, signals=signals)
            finish = run.mine()
        except SourceMisconfigured as error:
            log.error("configuration", text=str(error))  # noqa: TRY400  a sentence, no traceback, as below
            return ExitCode.USAGE
        except (
            StateError,
            SelectionError,
            SourceError,
            TelemetryError,
            SummaryError,
            LedgerError,
            ShareLogError,
            PowerError,
        ) as error:
            log.error("cannot_mine", text=str(error))  # noqa: TRY400
            return ExitCode.FAILED
        return _report(finish, run.engine.latest, configuration.summary)


def _configure_logs(configuration: Configuration, tail: Tail) -> None:
    stream = cast("TextIO", tail)
    logs.configure(configuration.log_format, configuration.log_level, secrets=configuration.secrets, stream=stream)


def _state(configuration: Configuration, held: ExitStack) -> Path | None:
    """The locked state folder; None where there can be none and nothing of worth would be lost."""
    try:
        return held.enter_context(StateDir.open(state_dir.locate(configuration.state_dir, os.environ))).path
    except state_dir.Unwritable as error:
        if configuration.worthless:
            log.warning("nothing_is_kept", text=str(error))
            return None
        raise


def _tell_of_the_guard(state: Path | None) -> None:
    """Say once what a guard did after the last run."""
    if state is None:
        return
    try:
        notices = guard_notice.take(state)
    except OSError as error:
        log.warning("guard_notice_not_removed", reason=error.strerror)
        return
    for notice in notices:
        at = datetime.fromtimestamp(notice.at, UTC).isoformat(timespec="seconds")
        log.warning("guard_had_turned_off", device=notice.device, reason=notice.reason, at=at)


def _report(finish: Finish, snapshot: Snapshot, target: Path | None) -> int:
    totals = Totals.of(snapshot)
    rate = snapshot.hashes / snapshot.mining_s if snapshot.mining_s else None
    level = log.info if finish.ok else log.error
    level(
        "finished",
        reason=finish.reason,
        hashes=snapshot.hashes,
        seconds=round(snapshot.mining_s, 3),
        rate=hash_rate(rate),
        blocks=totals.blocks_accepted,
        accepted=totals.accepted,
        rejected=totals.rejected,
        stale=totals.stale,
        hardware_errors=totals.hardware_errors,
    )
    if target is not None:
        try:
            summary.write(target, snapshot)
        except SummaryError as error:
            log.error("summary_not_written", text=str(error))  # noqa: TRY400
            return ExitCode.FAILED
    return ExitCode.DONE if finish.ok else ExitCode.FAILED


def _collect_garbage() -> None:
    """From now on, and not among what was loaded so far: a look at all of it would keep new work waiting."""
    gc.freeze()
    gc.enable()


class _Run:
    """One run's parts."""

    def __init__(
        self,
        arguments: Arguments,
        loaded: Loaded,
        state: Path | None,
        held: ExitStack,
        tail: Tail,
        *,
        signals: Signals,
    ) -> None:
        self._arguments = arguments
        self._loaded = loaded
        self._state = state
        self._held = held
        self._tail = tail
        self._notifier = Notifier(os.environ)
        self._signals = signals
        self._answers = Answers()
        self._reloading: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._hung_up = asyncio.Event()
        configuration = loaded.configuration
        config, folder = arguments.config, configuration.state_dir
        words = [*([f"--config={config}"] if config else []), *([f"--state-dir={folder}"] if folder else [])]
        words.append(f"--log-format={configuration.log_format}")
        self._rig = Rig(configuration, state, guard=words)
        held.callback(self._rig.close)
        self._learnt = Learnt(state / "version-bits.json") if state else None
        self._pools: dict[Built, Source] = {}
        sources = self._sources(configuration)
        limits = Limits(configuration.blocks, configuration.shares, configuration.seconds)
        self._strategy = build_strategy(configuration, sources)
        manager = Manager([source.name for source in sources], limits, self._strategy)
        scribe = Scribe()
        held.callback(scribe.close)
        self._share_log = ShareLog(configuration.share_log, do=scribe.do) if configuration.share_log else None
        if self._share_log:
            held.callback(self._share_log.close)
        metering = metering_for(configuration)
        self.engine = Engine(
            manager,
            sources,
            worthless=configuration.worthless,
            share_log=self._share_log,
            metering=metering,
            alarms=alarms_for(configuration),
        )
        metering.start()
        held.callback(metering.close)
        self._display = self._displayed()
        held.callback(self._display.close)
        self._job_control = JobControl(self.engine, self._display)
        self._heed_interlock()
        self._keep_ledger(scribe)
        self._end_a_standstill()

    def mine(self) -> Finish:
        """Run to the end."""
        configuration = self._loaded.configuration
        if configuration.metrics:
            from miner.telemetry.metrics import registry  # noqa: PLC0415  most mine without
            from miner.telemetry.server import MetricsServer  # noqa: PLC0415

            where = configuration.metrics
            access = guard_of(configuration)
            server = MetricsServer(where.host, where.port, registry(lambda: self.engine.latest), access=access)
            self._held.callback(server.close)
        self._rig.start(self.engine)
        self._display.look()
        self.engine.each_second(lambda _: self._look_at_terminal())
        self.engine.each_second(lambda _: self._display.look())
        reporter = Reporter()
        self.engine.each_second(lambda snapshot: self._tell(reporter, snapshot))
        finish = asyncio.run(self._main())
        self._display.close()
        return finish

    async def _main(self) -> Finish:
        self._signals.listen(self._signalled)
        self._rig.follow()
        self._notifier.ready()
        asyncio.get_running_loop().call_later(_LOADED_S, _collect_garbage)
        try:
            return await self.engine.run()
        finally:
            self._notifier.stopping()
            self._rig.unfollow()
            self._signals.stop_listening()

    def _displayed(self) -> Display:
        """The live screen, where there is a terminal for it and people read it."""
        console = Console(file=sys.stdout)
        wanted = self._loaded.configuration.log_format == "text"
        return Display(
            lambda: Screen(lambda: self.engine.latest, self._tail, console),
            in_front=lambda: wanted and possible(console) and in_front(console.file),
        )

    def _heed_interlock(self) -> None:
        """Where one is configured: from before any device has power."""
        path = self._loaded.configuration.safety.interlock
        if path is None:
            return
        interlock = Interlock(path, self.engine)
        interlock.start()
        self._held.callback(interlock.close)
        self.engine.each_second(lambda _: interlock.tell())

    def _keep_ledger(self, scribe: Scribe) -> None:
        """Where anything of worth is mined. Its last entry is written when all is over."""
        if self._state is None:
            return
        ledger = Ledger(self._state / "ledger", time.time(), scribe.do)

        def book(snapshot: Snapshot) -> None:
            if not snapshot.worthless:
                ledger.book(snapshot.sources, time.time())

        self.engine.each_second(book)
        self._held.callback(lambda: ledger.close(time.time()))

    def _end_a_standstill(self) -> None:
        """Where so many seconds are to be mined."""
        if self._loaded.configuration.seconds is None:
            return
        standstill = Standstill(self._loaded.configuration.seconds)

        def look(snapshot: Snapshot) -> None:
            if finish := standstill.handle(snapshot):
                self.engine.finish(finish)

        self.engine.each_second(look)

    # ---- sources

    def _sources(self, configuration: Configuration) -> list[Source]:
        """A source for each pool; one that is configured as before is the same object as before."""
        journal = self._state / "blocks" if self._state else None
        same_network = self._loaded.configuration.network == configuration.network
        self._pools = build_sources(
            configuration,
            journal_folder=journal,
            rate=self._rate,
            learnt=self._learnt,
            first_device=self._rig.mining[0].id if self._rig.mining else None,
            before=self._pools if same_network else {},
        )
        return list(self._pools.values())

    def _rate(self) -> float | None:
        return self.engine.rate_hps()

    def _read_again(self) -> None:
        if self._share_log:
            self._share_log.reopen()
        self._hung_up.set()
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(self._reload_while_asked())

    async def _reload_while_asked(self) -> None:
        while self._hung_up.is_set():
            self._hung_up.clear()
            await self._reload()

    async def _reload(self) -> None:
        self._notifier.reloading()
        try:
            arguments = self._arguments
            fresh = reload(self._loaded, arguments.flags, os.environ, Path.cwd(), file=arguments.config)
            if self._state is None and not fresh.configuration.worthless:
                raise SourceMisconfigured("found blocks could not be kept: give a --state-dir that can be written")  # noqa: TRY301
            sources = self._sources(fresh.configuration)
        except (ConfigError, SourceMisconfigured) as error:
            log.error("reload_refused", text=str(error))  # noqa: TRY400
        else:
            self._loaded = fresh
            _configure_logs(fresh.configuration, self._tail)  # there may be new secrets to keep out
            for warning in fresh.warnings:
                log.warning("configuration", text=warning)
            self.engine.worthless = fresh.configuration.worthless
            if isinstance(self._strategy, Quota):
                self._strategy.weights = weights(fresh.configuration, sources)
            await self.engine.replace_sources(sources)
            self._rig.configuration = fresh.configuration
            self._rig.look_again()  # what had no consent before may have it now
            log.info("reloaded", pools=[source.name for source in sources])
        self._notifier.ready()

    # ---- signals and signs of life

    def _signalled(self, number: int) -> None:
        for effect in self._answers.handle(number, lost_terminal=self._signals.lost_terminal):
            match effect:
                case End(why, lost_terminal):
                    if lost_terminal:
                        self._display.close()
                        let_go()
                    log.info("finishing", signal=why, hint="once more to leave at once")
                    self.engine.stop(why)
                case Leave(why):
                    self._display.close()
                    log.warning("left_at_once", signal=why)
                    os._exit(ExitCode.FAILED)
                case Reload():
                    self._read_again()
                case Status():
                    status(self.engine.latest).emit(log)
                case Suspend():
                    self._stopping = asyncio.create_task(self._job_control.suspend())
                case GoOn():
                    self._job_control.go_on()
                case Ignore(why):
                    log.info("signal_ignored", signal=why)

    def _look_at_terminal(self) -> None:
        """Not every shell passes the hang-up on to its jobs in the background before it ends itself."""
        if self._signals.lost_terminal:
            self._signalled(SIGHUP)

    def _tell(self, reporter: Reporter, snapshot: Snapshot) -> None:
        for line in reporter.handle(snapshot):
            line.emit(log)
        rate = snapshot.rate_hps.get(60)
        totals = Totals.of(snapshot)
        self._notifier.status(f"{hash_rate(rate)}, {totals.accepted} accepted, {totals.rejected} rejected")
        if self._notifier.watchdog_s is not None:
            self._notifier.watchdog()
