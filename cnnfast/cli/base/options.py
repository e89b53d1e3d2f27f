"""Options that commands of several families have."""

from __future__ import annotations

from dataclasses import dataclass

from cnnfast._options import option


@dataclass(kw_only=True)
class DeviceOptions:
    """Where a command works."""

    device: str = option("auto, cpu, cuda or cuda:N", default="auto")
