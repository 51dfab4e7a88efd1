"""From the name of a search to its kernel: every function of it compiled, or taken from where it is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from native.features import Features
from native.kernel import Kernel


def build(
    name: str,
    features: Features,
    folder: Callable[[str], Path | None] = lambda _: None,
    *,
    requires: Sequence[str] = (),
    midstates: int = 1,
) -> Kernel:
    """The kernel of this name, not proven yet. requires, midstates: what the kernel is to say of itself.

    folder: where each of its parts is kept, by the part's name. Raises CompilationError, and KeyError for a name that
    `native.compiled.LOWERINGS` does not have.
    """
    from native.compiled import LOWERINGS, compile_fill, compile_midstates, compile_scan  # noqa: PLC0415 # `load_compiler`
    from native.loop import SCRATCH_WORDS  # noqa: PLC0415

    lowering = LOWERINGS[name]
    several, shared, fill = f"{name}+" if f"{name}+" in LOWERINGS else name, "midstates", f"fill-{name}"
    run_scan = compile_scan(features, name, folder(name))
    return Kernel(
        name=name,
        lanes=lowering.lanes,
        requires=tuple(requires),
        layout=lowering.layout(),
        scratch_words=lowering.scratch_words + SCRATCH_WORDS,
        midstates=midstates,
        run_scan=run_scan,
        run_several=run_scan if several == name else compile_scan(features, several, folder(several)),
        run_midstates=compile_midstates(features, folder(shared)),
        run_fill=compile_fill(features, name, folder(fill)),
        parts=(name, several, shared, fill),
    )


def load_compiler() -> None:
    """Load the compiler, which takes a moment and 50 MB, ahead of the first `build`: a mere listing does without."""
    import native.compiled  # noqa: F401, PLC0415
