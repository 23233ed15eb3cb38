"""Settings: defaults, then `xrayq.toml`, then `XRAYQ_` environment variables, each overriding the one before.

Only the command line and `migrations/env.py` build a `Settings`; everything else is handed values.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from model.reasons import REASONS

CONFIG_VARIABLE = "XRAYQ_CONFIG"
MEBIBYTE = 1 << 20
Names = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """Every setting, its default and its meaning. Lists are comma-separated in the environment."""

    model_config = SettingsConfigDict(env_prefix="XRAYQ_", extra="forbid", frozen=True)

    home: Path = Field(Path("~/.xrayq"), description="Folder for everything that has no place of its own.")
    database_url: str = Field("", description="SQLAlchemy URL; empty: SQLite (WAL) in `home`.")
    redis_url: str = Field(
        "", description="Celery broker, redis:// or redis+socket://; `xrayq up` starts one if empty."
    )
    spool: Path | None = Field(None, description="Folder of received films; default `home`/spool.")
    spool_reserve_mib: int = Field(1024, ge=0, description="Free space a film must leave; below it C-STORE gets A700.")
    max_instance_mib: int = Field(512, gt=0, description="Largest data set accepted.")

    host: str = Field("0.0.0.0", description="Address the gateway listens on.")
    port: int = Field(11112, ge=0, le=65535, description="Port the gateway listens on.")
    ae_title: str = Field("XRAYQ", min_length=1, max_length=16, description="Our application entity title.")
    require_called_ae: bool = Field(False, description="Reject associations that call another AE title.")
    calling_aes: Names = Field((), description="AE titles that may connect; empty: all.")
    max_associations: int = Field(1000, gt=0, description="Open associations; the next is rejected.")
    association_timeout: float = Field(
        10.0, gt=0, description="Seconds a connected peer has to ask for an association."
    )
    network_timeout: float = Field(30.0, gt=0, description="Seconds of silence inside a PDU or message before abort.")
    idle_timeout: float = Field(600.0, gt=0, description="Seconds an association may rest between messages.")

    bundle: Path | None = Field(
        None, description="Bundle that is live while none is activated; default: the shipped reference."
    )
    engine: Literal["auto", "onnxruntime", "onnxruntime-int8", "torch-cuda", "tensorrt"] = Field(
        "auto",
        description="What runs the network; auto: the GPU's, else the fastest of ONNX Runtime that agrees with fp32.",
    )
    engine_fallback: bool = Field(
        False, description="Serve with ONNX Runtime in fp32 when the engine cannot start, instead of stopping."
    )
    engine_threads: int = Field(0, ge=0, description="Threads of one inference on the CPU; 0: from cores and films.")
    flag_tolerance: float = Field(
        0.02, ge=0, le=1, description="Share of validation films whose flags a faster variant of a bundle may change."
    )
    plan_cache: Path | None = Field(None, description="Folder of compiled TensorRT plans; default `home`/plans.")
    modalities: Names = Field(("CR", "DX"), description="Modalities that are scored; empty: all.")
    body_parts: Names = Field(
        ("CHEST", "THORAX", "LUNG"), description="Body Part Examined that is scored; a missing one passes."
    )
    views: Names = Field(("PA",), description="View Position that is scored.")
    min_age: float = Field(18.0, ge=0, description="Youngest patient scored, years; a missing age passes.")
    mark: Names = Field((), description="Reasons of the gate that do not refuse: the film is scored and marked.")

    batch_size: int = Field(8, gt=0, le=256, description="Films in one task.")
    max_in_flight: int = Field(128, gt=0, description="Films published and not yet finished, over all workers.")
    lease_seconds: float = Field(60.0, gt=0, description="After this long without a result a film is published again.")
    max_attempts: int = Field(5, gt=0, description="Attempts before a film becomes a dead letter.")
    retry_seconds: float = Field(2.0, gt=0, description="Wait before the second attempt; doubles with each one.")
    poll_seconds: float = Field(0.1, gt=0, description="How often the relay looks for new films.")
    decode_processes: int = Field(0, ge=0, description="Decoder processes; 0: one for each core.")
    decode_timeout: float = Field(
        60.0, gt=0, description="Seconds a film may take to decode before its decoder is killed."
    )
    decode_memory_mib: int = Field(4096, ge=512, description="Address space of one decoder process.")
    reduced_resolution: bool = Field(
        True, description="Decode JPEG 2000 at a lower resolution where the film is much larger than the input."
    )
    max_megapixels: float = Field(64.0, gt=0, description="Largest Rows x Columns, million pixels.")

    time_zone: str = Field("UTC", description="Zone in which a day of the audit report begins, such as Europe/Berlin.")

    log_format: Literal["text", "json"] = Field("text", description="text for people, json for machines.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")

    @field_validator("calling_aes", "modalities", "body_parts", "views", "mark", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"no time zone {value!r} on this machine") from None
        return value

    @field_validator("mark", mode="after")
    @classmethod
    def _reasons(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(value) - set(REASONS)):
            raise ValueError(f"{', '.join(unknown)}: no reason of the gate, which are {', '.join(REASONS)}")
        return value

    @field_validator("home", "spool", "bundle", "plan_cache", mode="after")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value else value

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'xrayq.db'}"

    @property
    def spool_folder(self) -> Path:
        return self.spool or self.home / "spool"

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @property
    def decoders(self) -> int:
        return self.decode_processes or cores()

    @property
    def plan_folder(self) -> Path:
        return self.plan_cache or self.home / "plans"

    @property
    def threads(self) -> int:
        """Of one inference on the CPU. Single-threaded ones never wait for each other, so no core stands still
        (measured on two cores); more only where there are more cores than tasks in flight."""
        tasks = max(1, self.max_in_flight // self.batch_size)
        return self.engine_threads or max(1, cores() // tasks)

    @property
    def inferences(self) -> int:
        """Score tasks at once."""
        return max(2, cores() // self.threads)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        toml = TomlConfigSettingsSource(settings_cls, Path(os.environ.get(CONFIG_VARIABLE, "xrayq.toml")))
        return init_settings, env_settings, toml


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))
