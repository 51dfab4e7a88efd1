"""Every log event: its level, its meaning, and what an operator does about it.

The level follows from what a person has to do:

    debug     nothing: bytes and phases
    info      nothing: an outcome, as expected
    warning   nothing at once: the miner goes on, and mends the matter or works around it
    error     something: until a person acts, work, money or a device is lost

This table is the source. A backend names its event and gets the level from here. All of `miner/` logs at the
level that stands here, which `tests/miner/logs/test_events.py` checks. The same rows are in docs/reference/events.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

LEVELS = ("debug", "info", "warning", "error")  # the gravest last
UNKNOWN_LEVEL = "warning"  # of an event that is not in the table: it may be about safety, so it is not hidden


class LogEvent(NamedTuple):
    """`levels`: usually one. Several: `meaning` says which when. `action`: what a person does; empty: nothing."""

    levels: tuple[str, ...]
    meaning: str
    action: str = ""


def teller(log: Any) -> Callable[..., None]:
    """`Host.log` for backends: logs to this structlog logger, at the event's level from the table.

    An event that is not in the table is a plug-in's own. The plug-in gives its level as `level=`; without one the event
    is logged at UNKNOWN_LEVEL. Any thread.
    """

    def tell(event: str, *, level: str = UNKNOWN_LEVEL, **values: Any) -> None:
        known = EVENTS.get(event)
        if known is not None:
            level = max(known.levels, key=LEVELS.index)
        elif level not in LEVELS:
            level = UNKNOWN_LEVEL
        getattr(log, level)(event, **values)

    return tell


def _debug(meaning: str) -> LogEvent:
    return LogEvent(("debug",), meaning)


def _info(meaning: str) -> LogEvent:
    return LogEvent(("info",), meaning)


def _warning(meaning: str, action: str = "") -> LogEvent:
    return LogEvent(("warning",), meaning, action)


def _error(meaning: str, action: str) -> LogEvent:
    return LogEvent(("error",), meaning, action)


_REPORT = "Report it with its traceback."
_DISK = "Look at the disk: space, permissions, mount."

EVENTS: Mapping[str, LogEvent] = MappingProxyType(
    {
        "alarm": LogEvent(
            ("info", "warning", "error"),
            "An alarm was raised; the level is its severity: info, warning or critical (error).",
            "See the alarm in configuration.md.",
        ),
        "alarm_over": _info("An alarm has ended."),
        "asic_cut_off": _warning(
            "A board was turned off for safety. It rests, then starts again by itself.",
            "Look at its cooling if it happens again: the third time within an hour latches the board.",
        ),
        "asic_errs": _warning(
            "More than 5 % of a board's results are wrong; it was slowed down.",
            "If it stays so: lower its clock, look at its cooling.",
        ),
        "asic_latched": _error(
            "A board was turned off for safety too often and stays off.",
            "Look at the board and its cooling, then `miner unlatch SERIAL`.",
        ),
        "asic_not_off": _error(
            "A board was told to turn off and may still be on. It is told so again each second.",
            "Pull its plug.",
        ),
        "asic_record_not_kept": _error(
            "The record of a board's cut-offs could not be written. It is lost when the miner ends.",
            "Make the state folder writable.",
        ),
        "asic_released": _info("A board has rested after a cut-off and may start again."),
        "asic_relieved": _info("A board that was slowed down may run one clock faster again."),
        "asic_silent": _warning("A board's chips gave no results where some were due; they are started anew."),
        "asic_slept": _warning(
            "The machine was suspended while a board had power. The board is off until its sensors were read."
        ),
        "asic_throttled": _warning(
            "A board is hot, or its sensors fail; it was slowed down.",
            "Look at its cooling if it goes on.",
        ),
        "asic_up": _info("A board was started and its chips were found."),
        "backend_unusable": _warning(
            "A backend could not be loaded or could not look for devices; its devices do not mine.",
            "Install what it names, or choose another `--backend`.",
        ),
        "backend_watch_failed": _warning(
            "A backend cannot tell when its devices come and go. Devices that are plugged in later are not noticed.",
            "Restart the miner after plugging one in; report it to the backend's author.",
        ),
        "bare_block_refused": _warning(
            "A pool refused a block that misses its share difficulty. It gets none for a while."
        ),
        "block_accepted": _info("A pool or node accepted a block."),
        "block_answered": LogEvent(
            ("info", "warning"), "A node answered a block; `answer` is its word. Warning: a refusal."
        ),
        "block_displaced": _warning("A node no longer builds on a block of this miner that it had accepted."),
        "block_found": _info("A block was found and written to the journal."),
        "block_given_up": _warning("A further node did not take a block in ten minutes; another node has answered it."),
        "block_kept": _warning(
            "A block in the journal belongs to another chain than the node follows; it stays there.",
            "Point `--pool` at a node of that chain.",
        ),
        "block_lost": _warning("A found block cannot be submitted; `reason` says why. `more` counts further ones."),
        "block_not_delivered": _warning("A block did not reach a node; it is sent again."),
        "block_not_taken": LogEvent(
            ("warning", "error"),
            "The run ended before any node had taken a block. Error: it is not in the journal either, and is lost.",
            "Start the miner again: it sends the blocks of the journal.",
        ),
        "block_not_written": _error(
            "A block was found and could not be written to the journal; it is sent at once.", _DISK
        ),
        "block_rejected": LogEvent(
            ("warning", "error"),
            "A block was refused. Warning: another block was faster. Error: for any other reason.",
            "Look at its reason: the node's or pool's, or this miner's fault.",
        ),
        "block_restored": _info("A node builds again on a block of this miner that it had left."),
        "block_resubmitted": _info("A block of an earlier run that nobody had answered is sent again."),
        "block_unanswered": _warning(
            "Nobody waits any longer for the answer to a block that was submitted; `reason` says why."
        ),
        "block_withheld": _warning(
            "A found block was not submitted, on purpose; `reason` says why. `more` counts further ones."
        ),
        "cannot_mine": _error("The miner ends before it mines; `text` says why.", "Do what `text` says."),
        "card_cooled": _info("A card that was stopped for its heat is cool and goes on."),
        "card_stopped": _warning(
            "A card that is too hot, or whose temperature cannot be read, was stopped. It goes on once it is cool.",
            "Look at its cooling, and at its driver.",
        ),
        "clock_off": _warning("This machine's clock and the node's differ.", "Set the clock."),
        "coinbase_odd": _warning(
            "A pool's coinbase cannot be read. The pool is mined all the same; height and payout are unknown."
        ),
        "coins_are_worthless": _warning("The embedded chain is mined: its coins have no value."),
        "configuration": LogEvent(
            ("warning", "error"),
            "Warning: a doubt about the configuration. Error: the configuration cannot be used.",
            "Do what `text` says.",
        ),
        "continued": _info("The miner goes on after Ctrl-Z; devices start again."),
        "device_activity": _info("A device began a step of its start that may take minutes."),
        "device_disabled": _error(
            "A device was given up after several restarts.",
            "Mend what `reason` says, then restart the miner or plug the device in again.",
        ),
        "device_failed": _warning(
            "A device's driver ended with an error. The device is restarted, and given up later."
        ),
        "device_gone": _warning("A device was unplugged. It mines again when it is back.", "Plug it in."),
        "device_not_off": _error(
            "A device did not stop in time, or may still have power.",
            "For a USB miner: `miner off`, or pull its plug.",
        ),
        "device_passed_over": LogEvent(
            ("info", "warning"),
            "A device does not mine. Info: it is not selected, or is no miner. Warning: it cannot; `reason` says why.",
            "Do what `reason` says.",
        ),
        "device_ready": _info("A device's kernel is ready."),
        "device_recovered": _info("A device that was sick hashes well again."),
        "device_restarted": _info("A sick device was started again."),
        "device_sick": _warning("A device hashes badly or not at all. It is restarted."),
        "device_state": LogEvent(
            ("info", "warning", "error"),
            "A device's state changed. Warning: with a fault. Error: the device is dead.",
            "Look at its reason.",
        ),
        "device_taken": _warning("Another miner drives a device; it is left alone.", "Stop one of the two."),
        "disk_does_not_answer": _error("Ledger and share log could not be written in time at the end.", _DISK),
        "driver_not_placed": _info("A driver's thread could not be bound to a core; it runs on any."),
        "embedded_chain_failed": _error("The embedded chain has ended; `text` says why.", "Do what `text` says."),
        "finished": LogEvent(
            ("info", "error"),
            "The run has ended. Error: not for the reason that was wanted.",
            "Look at its reason.",
        ),
        "finishing": _info("A signal ends the run; what was found is submitted."),
        "guard_configuration": _error(
            "The guard cannot read the configuration. It tries again when it has to turn devices off.",
            "Put the configuration file right.",
        ),
        "guard_had_turned_off": _warning(
            "In an earlier run, the guard turned a board off because its miner stood still or was killed.",
            "Find out what stopped the miner.",
        ),
        "guard_kills_miner": _error(
            "Boards have power and no supervisor reports. The guard kills the miner and turns them off.",
            "Find out what stopped the miner.",
        ),
        "guard_lost": _error("The guard has ended or hangs. Another one is started.", "Find out what ended it."),
        "guard_not_started": _error(
            "No guard could be started: nothing turns boards off if this miner is killed. It is tried again.",
            "Do what `reason` says; stay beside the boards until then.",
        ),
        "guard_notice_not_kept": _warning(
            "The guard could not note for the next start what it turned off.", "Make the state folder writable."
        ),
        "guard_notice_not_removed": _warning(
            "The guard's note of an earlier run could not be removed; it is told again at the next start.",
            "Make the state folder writable.",
        ),
        "guard_ready": LogEvent(("debug", "info"), "The guard is ready. Debug: on a terminal.", ""),
        "guard_turns_off": LogEvent(
            ("warning", "error"),
            "The guard turned a board off. Error: the board may still be on.",
            "Error: pull its plug.",
        ),
        "guard_without_pidfd": _warning(
            "This kernel has no pidfd. The guard knows its miner by its parentage instead."
        ),
        "hash_thread_not_placed": _info(
            "A hash thread could not get its priority or core; it runs as the system likes."
        ),
        "hit_after_the_end": _warning("A device found something after the run had ended; it is lost."),
        "interlock_closed": _info("The interlock is closed; devices may start."),
        "interlock_open": _warning("The interlock is open; all devices are off until it is closed."),
        "job_refused": _warning("A pool's job cannot be mined; the next one is waited for."),
        "job_time_off": _warning("A job's time differs from this machine's.", "Set the clock."),
        "journal_unreadable": _error(
            "A file of the journal of found blocks cannot be read. Its block may not have been sent.",
            "Look at the file in the state folder; keep it.",
        ),
        "journal_unwritable": _warning(
            "A block was answered, which could not be noted; it is sent again next time.", _DISK
        ),
        "kernel_cache_unusable": _warning(
            "Compiled kernels cannot be kept; each start compiles them anew.", "Make the state folder private."
        ),
        "kernel_choice_not_kept": _warning("The choice of kernel could not be written; it is measured again.", _DISK),
        "kernel_choice_not_read": _warning(
            "The remembered choice of kernel cannot be read; kernels are measured again."
        ),
        "kernel_compiled_in_process": _info("A kernel was compiled in this process: no other one could be started."),
        "kernel_ready": _info("A kernel is in use."),
        "kernel_refused": _warning("A kernel could not be built, or failed its examination; another one is used."),
        "kernels_exhausted": _error("No kernel works on this processor; the CPU does not mine.", "Report it."),
        "kernels_not_measured": _info("Kernels could not be compared; the one in use stays."),
        "ledger_not_written": _error("The ledger could not be written. It is tried again.", _DISK),
        "ledger_page_not_turned": _error("The ledger's new day could not be begun. It is tried again.", _DISK),
        "ledger_put_aside": _error(
            "A day of the ledger cannot be read. It was renamed and a new one begun.", "Look at the file."
        ),
        "left_at_once": _warning("A second signal ended the run at once; what was not answered may be lost."),
        "left_behind": _debug("Threads that cannot be interrupted were left behind at the end."),
        "leftover_removed": _info("A folder of an embedded chain whose miner was killed was removed."),
        "line_ignored": _warning("A line from a pool could not be understood."),
        "local_target_changed": _info("The device's shares outran what the pool takes; fewer are sent, or more again."),
        "meter_defect": _error("Reading a meter failed by a defect; it is read again.", _REPORT),
        "meter_readable": _info("A meter can be read again."),
        "meter_unreadable": LogEvent(
            ("info", "warning"),
            "A meter cannot be read; it is tried again. Info: of the processor's own counters.",
            "Look at `text`.",
        ),
        "method_unknown": _warning("A pool called a method that this miner does not know; it was answered so."),
        "metrics_password_in_clear": _warning(
            "The password of the metrics goes over the network in clear.", "Set metrics_cert."
        ),
        "metrics_public": _warning("Everybody who reaches the address can read the metrics.", "Set metrics_user."),
        "metrics_refused": _debug("Somebody without the password asked for the metrics."),
        "metrics_request_failed": _debug("A request for the metrics broke off."),
        "metrics_scrape_failed": _error("The metrics could not be made by a defect.", _REPORT),
        "metrics_serving": _info("Metrics are served at `url`."),
        "mining_began": _info("The first hash was done."),
        "no_device_left": _error(
            "Nothing mines any more: no device is left. The miner waits for one.",
            "Plug a device in, or look at the others.",
        ),
        "node_away": _warning("A node does not answer, or is not ready. It is asked again."),
        "node_ready": _info("A node gives work."),
        "not_stopped": _error(
            "A device did not turn off, so Ctrl-Z did not stop the miner.", "Pull the device's plug."
        ),
        "nothing_is_kept": _warning("There is no state folder; nothing outlives this run.", "Give `--state-dir`."),
        "payout_missing": _warning(
            "A pool's job does not pay the configured address itself, as many pools do not.",
            "`--require-payout` refuses such jobs.",
        ),
        "pool_complains": _warning("A pool reports an error that belongs to no request of the miner.", "Read it."),
        "pool_moved": _info("A pool sent the miner to another of its servers."),
        "pool_says": _warning("A pool has a message for its miners.", "Read it."),
        "pool_unproven": _warning("TLS without verification: anybody may be this pool.", "Set `--ca-file`."),
        "power_limit_refused": _error(
            "A card did not take the power limit that was set; it may draw more.",
            "Look at `reason`: limits often need more rights.",
        ),
        "question_asked_again": _info("A pool took an optional question that it had hung up on before."),
        "question_left_out": _warning(
            "A pool hangs up on an optional question, which is left out from now on; `text` says what that costs."
        ),
        "redirect_refused": _warning("A pool wanted to move the miner to a server that is not its own."),
        "reload_refused": _error(
            "The configuration that was read again cannot be used; the earlier one stays.", "Mend it."
        ),
        "reloaded": _info("The configuration was read again."),
        "screen_failed": _error("The screen ended by a defect; mining goes on.", _REPORT),
        "scribe_defect": _error("Writing a log or the ledger failed by a defect.", _REPORT),
        "secret_open_to_all": _warning("Everybody on this machine can read a file with a secret.", "`chmod 600` it."),
        "share_accepted": _info("A pool or node accepted a share."),
        "share_log_lost_lines": _warning("The share log could not be written for a while and lacks lines."),
        "share_log_not_reopened": _error(
            "The share log could not be opened anew; the earlier file is written on.", _DISK
        ),
        "share_log_not_written": _error("The share log cannot be written. It is tried again.", _DISK),
        "share_refused_though_proved": _warning(
            "A pool refused a share that was checked before it was sent. `left_out` counts those since the last line."
        ),
        "share_rejected": _warning(
            "A pool or node refused a share; `reason` and `text` say why. `more` counts further ones."
        ),
        "share_unsound": _error("A share did not pass the check before it is sent, and was held back.", "Report it."),
        "shares_lost": _warning(
            "Shares under way were lost with a pool's session; their number and difficulty are given."
        ),
        "shares_unanswered": _warning("The run ended before the embedded chain had judged all shares."),
        "signal_ignored": _info("A signal that means nothing to the miner came in."),
        "source_defect": _error("A source of work ended by a defect; it is started again.", _REPORT),
        "source_distrusted": _warning(
            "A source answers no share, or refuses each one. It gives way to others and is tried again.",
            "See the alarm pool-no-credit.",
        ),
        "source_down": _warning("A source of work was lost; it is tried again."),
        "source_failed": _error("A source of work has given up; `reason` says why.", "Do what `reason` says."),
        "source_trusted": _info("A source that was distrusted has accepted a share."),
        "source_up": _info("A source gives work."),
        "staging_defect": _error(
            "Preparing a device's next work failed by a defect; it takes its work later.", _REPORT
        ),
        "status": _info("Where the run stands, every ten seconds where there is no screen."),
        "stopped": _info("Devices are off; the miner stops as Ctrl-Z asks."),
        "summary_not_written": _error("The summary could not be written.", _DISK),
        "supervisor_silent": _error(
            "A board's supervisor has not reported for 5 s; the guard is about to end this miner.",
            "Look at the board and its cable.",
        ),
        "terminal_lost": _warning("The screen's terminal is gone; mining goes on without a screen."),
        "trip_not_recorded": _warning(
            "The guard could not record a cut-off of a board.", "Make the state folder writable."
        ),
        "unexpected": _error("An exchange with a node failed by a defect.", _REPORT),
        "usb_close_abandoned": _warning(
            "A transfer to a board does not end; its handle stays open.", "Plug it in again."
        ),
        "usb_close_failed": _warning("A board's handle could not be closed."),
        "usb_driver_not_returned": _warning(
            "The kernel did not take a board's interface back.", "Plug it in again where another program needs it."
        ),
        "usb_release_failed": _warning("A board's interface could not be released.", "Plug it in again."),
        "version_bits_changed_over": _warning(
            "A pool reads version bits in another way than most; its shares go so now."
        ),
        "version_bits_forgotten": _warning("What was learnt of pools cannot be read; it is learnt again."),
        "version_bits_not_kept": _warning("What was learnt of a pool could not be written; it is learnt again.", _DISK),
        "watcher_defect": _error("A display or export failed by a defect; mining goes on.", _REPORT),
        "work_exhausted": _warning(
            "A source's jobs leave too little to search; devices wait.", "Ask the pool, or use another."
        ),
        "work_is_synthetic": _warning("Work is made up to measure with: nothing is earned."),
        "worker_lost": _warning("The process that drives a card ended or hung; a new one is started."),
        "worker_not_gone": _error(
            "The process that drives a card cannot be ended.", "Reboot before the card mines again."
        ),
        "worker_refused": _warning("A pool refused a device's own worker name; its shares go under the account's."),
        "worker_restarted": _info("The process that drives a card was started again."),
    }
)
