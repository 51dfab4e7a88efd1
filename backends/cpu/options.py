"""The section [backends.cpu] of the configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from backends.kernels.candidates import candidates

from .priority import Priority


class CpuOptions(BaseModel):
    """How much of the processor to use, and how politely."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threads: Annotated[int, Field(ge=1, le=4096, description="hash threads; default: all cores")] | None = None
    affinity: Annotated[bool, Field(description="keep each thread on a core of its own, the best first")] = True
    priority: Annotated[Priority, Field(description="whom hash threads give way to")] = Priority.LOW
    duty: Annotated[float, Field(gt=0, le=1, description="share of the time to hash in")] = 1.0
    kernel: Annotated[str, Field(description="use this kernel only; default: the best that works")] | None = None

    @field_validator("kernel")
    @classmethod
    def _known(cls, kernel: str | None) -> str | None:
        known = [candidate.name for candidate in candidates()] if kernel is not None else []
        if kernel is not None and kernel not in known:
            raise ValueError(f"no such kernel; there are {', '.join(known)}")
        return kernel
