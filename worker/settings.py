"""Settings: defaults, then `xrayq.toml`, then `XRAYQ_` environment variables, each overriding the one before.

A secret may stand in a file instead: see `secret_files`.

Only the command line and `migrations/env.py` build a `Settings`; everything else is handed values.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from dicom_gateway.views import VIEWS
from worker import setting_values
from worker.secret_files import SecretFiles
from worker.web_settings import WebSettings

CONFIG_VARIABLE, CONFIG_FILE = "XRAYQ_CONFIG", "xrayq.toml"
Names = Annotated[tuple[str, ...], NoDecode]
Title = Annotated[str, AfterValidator(setting_values.title)]
Place = Annotated[Path, AfterValidator(setting_values.place)]
MailAddress = Annotated[str, AfterValidator(setting_values.mail_address)]


LISTS = (
    "ask_pacs",
    "ask_words",
    *("calling_aes", "modalities", "body_parts", "views", "mark"),
    *("results_to", "silence_on", "told_flags", "urgent", "mail_to", "commitment_to"),
)


class Settings(WebSettings):
    """Every setting, its default and its meaning. Lists are comma-separated in the environment."""

    model_config = SettingsConfigDict(env_prefix="XRAYQ_", extra="forbid", frozen=True)

    home: Place = Field(Path("~/.xrayq"), description="Folder for everything that has no place of its own.")
    database_url: str = Field("", description="SQLAlchemy URL; empty: SQLite (WAL) in `home`.")
    database_timeout: float = Field(
        20.0,
        ge=2,
        le=120,
        description="Seconds after which a database that is silent or locked is given up, and C-STORE gets A702, "
        "10 s later where two codings of a film are compared; statements of reports, lists and upgrades have 30 times "
        "as long.",
    )
    redis_url: Annotated[str, AfterValidator(setting_values.broker)] = Field(
        "", description="Celery broker, redis://, rediss:// or redis+socket://; `xrayq up` starts one if empty."
    )
    spool: Place | None = Field(None, description="Folder of received films; default `home`/spool.")
    spool_reserve_mib: int = Field(1024, ge=0, description="Free space a film must leave; below it C-STORE gets A700.")
    max_instance_mib: int = Field(
        512, gt=0, description="Largest data set that is kept, also when inflated; a larger one gets A701."
    )
    keep_other_objects: bool = Field(
        False, description="Keep in the spool also what can never be a film, such as dose reports and CT slices."
    )
    study_seconds: float = Field(
        300.0, ge=0, description="A study is complete when no new object of it came for so long and its films ended."
    )

    host: str = Field("0.0.0.0", description="Address the gateway listens on.")
    port: int = Field(
        11112, ge=0, le=65535, description="Port the gateway listens on, without TLS; 0: none, TLS alone leads in."
    )
    plain_host: str = Field(
        "",
        description="Address of the port without TLS; empty: `host`. With 127.0.0.1 only TLS leads in from the "
        "network, and checks on this machine go on.",
    )
    tls_port: int = Field(0, ge=0, le=65535, description="Port for associations over TLS, by custom 2762; 0: none.")
    tls_certificate: Place | None = Field(
        None, description="PEM file: our certificate, and those between it and the root. Followed when it changes."
    )
    tls_key: Place | None = Field(None, description="PEM file: its private key, not encrypted.")
    tls_authorities: Place | None = Field(
        None, description="PEM file: the authorities that sign the certificates of our peers."
    )
    tls_clients: Literal["certified", "any"] = Field(
        "certified", description="Who may connect over TLS: who has a certificate of an authority, or anybody."
    )
    tls_check_host: bool = Field(
        True,
        description="Whether the certificate of a PACS, a RIS or the audit repository must name the host that is "
        "called.",
    )
    tls_profile: Literal["bcp195", "non-downgrading"] = Field(
        "bcp195",
        description="TLS profile: `bcp195` is PS3.15 B.12, `non-downgrading` B.10 for peers that need ephemeral DH.",
    )
    ae_title: Title = Field("XRAYQ", min_length=1, max_length=16, description="Our application entity title.")
    require_called_ae: bool = Field(False, description="Reject associations that call another AE title.")
    calling_aes: Annotated[tuple[Title, ...], NoDecode] = Field(
        (),
        description="AE titles that may connect, or push by web, at all; asked before `unknown_peers`; empty: "
        "every one.",
    )
    unknown_peers: Literal["", "allow", "quarantine", "reject"] = Field(
        "",
        description="What becomes of a peer that is not in the table of peers (`xrayq peer`), or comes from another "
        "address or with another certificate: `allow`; `quarantine`, what it sends is kept and not scored until a "
        "person admits it; `reject`. Empty: allow on this machine (loopback), quarantine from elsewhere.",
    )
    unknown_share: float = Field(
        0.25,
        gt=0,
        le=1,
        description="Share of `max_associations`, and of requests by web at once, that unknown peers may have whose "
        "films go into quarantine; all of them together, and one at least.",
    )
    unknown_per_minute: int = Field(
        600,
        gt=0,
        description="Objects a minute of these peers, all of them together; over it their answers come later, then "
        "C-STORE gets A703.",
    )
    quarantine_objects: int = Field(
        10_000, gt=0, description="Most objects in quarantine; an unknown peer's next C-STORE gets A704."
    )
    quarantine_mib: int = Field(
        10_240, gt=0, description="Most that these take of the spool; an unknown peer's next C-STORE gets A704."
    )
    max_associations: int = Field(1000, gt=0, description="Open associations; the next is rejected.")
    association_timeout: float = Field(
        10.0, gt=0, description="Seconds a connected peer has to ask for an association."
    )
    network_timeout: float = Field(30.0, gt=0, description="Seconds of silence inside a PDU or message before abort.")
    idle_timeout: float = Field(600.0, gt=0, description="Seconds an association may rest between messages.")

    stow: Annotated[str, AfterValidator(setting_values.stow)] = Field(
        "",
        description="Where the gateway takes films by web too (STOW-RS): `host:port`, or `tls:host:port` with the "
        "certificates of DICOM over TLS. Empty: nowhere. Another address than this machine's own needs "
        "XRAYQ_STOW_TOKENS, or `tls:` and certified clients.",
    )
    stow_tokens: SecretStr = Field(
        SecretStr(""),
        description="Who may push by web: lines, or comma-separated entries, `AE_TITLE:TOKEN`; the AE title is the "
        f"calling one in the ledger, a token has {setting_values.LEAST_TOKEN} characters or more. Empty: nobody shows "
        "one.",
    )

    bundle: Place | None = Field(
        None, description="Bundle that is live while none is activated; default: the shipped reference."
    )
    engine: Literal["auto", "onnxruntime", "onnxruntime-int8", "torch-cuda", "tensorrt"] = Field(
        "auto",
        description="What runs the network; auto: the GPU's (not run on any yet), else the fastest of ONNX Runtime "
        "that agrees with fp32.",
    )
    engine_fallback: bool = Field(
        False, description="Serve with ONNX Runtime in fp32 when the engine cannot start, instead of stopping."
    )
    engine_threads: int = Field(0, ge=0, description="Threads of one inference on the CPU; 0: from cores and films.")
    flag_tolerance: float = Field(
        0.02, ge=0, le=1, description="Share of validation films whose flags a faster variant of a bundle may change."
    )
    plan_cache: Place | None = Field(None, description="Folder of compiled TensorRT plans; default `home`/plans.")
    modalities: Names = Field(("CR", "DX"), description="Modalities that are scored; empty: all.")
    body_parts: Names = Field(
        ("CHEST", "THORAX", "LUNG"), description="Body Part Examined that is scored; a missing one passes."
    )
    views: Annotated[Names, AfterValidator(setting_values.views)] = Field(
        ("PA",), description=f"Views that are scored, of {', '.join(VIEWS)}; a synonym such as PA ERECT is the view."
    )
    min_age: float = Field(18.0, ge=0, description="Youngest patient scored, years; a missing age passes.")
    mark: Annotated[Names, AfterValidator(setting_values.gate_reasons)] = Field(
        (), description="Reasons of the gate that do not refuse: the film is scored and marked."
    )

    batch_size: int = Field(8, gt=0, le=256, description="Films in one task.")
    max_in_flight: int = Field(128, gt=0, description="Films published and not yet finished, over all workers.")
    lease_seconds: float = Field(
        60.0,
        gt=0,
        description="Length of a lease. A film that no worker takes within it is published again; a worker that is at "
        "work on one renews it.",
    )
    max_attempts: int = Field(5, gt=0, description="Attempts before a film becomes a dead letter.")
    retry_seconds: float = Field(
        2.0,
        gt=0,
        description="Wait before the second attempt, from the failure on or, where a worker died, from the end of its "
        "lease; doubles with each one, to 60 s at most.",
    )
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

    results_to: Annotated[tuple[str, ...], NoDecode, AfterValidator(setting_values.result_routes)] = Field(
        (),
        description="Where results go, `SENDER:DESTINATION` each: those of films that the AE SENDER sent; several "
        "entries for one sender are several destinations; `*` is every sender without an entry of its own. A "
        "destination is a PACS by C-STORE, `CALLED_AE@host:port`, or over TLS `tls:CALLED_AE@host:port`; a RIS by HL7, "
        "`mllp://host:port`, or over TLS `tls:mllp://host:port`; or, for flagged films alone, a webhook `https://...` "
        "or a mail `mailto:address`. Empty: "
        "no result is sent. A sender's results go out from `xrayq device accept` on.",
    )
    acceptance_margin: float = Field(
        0.10,
        gt=0,
        lt=1,
        description="By how much a flag's sensitivity or specificity on an AE's own films may be below what was "
        "calibrated, for `xrayq device accept`.",
    )
    silence_on: Annotated[tuple[str, ...], NoDecode, AfterValidator(setting_values.silencing_rules)] = Field(
        (),
        description="Alarms of the night that end the sending of results until a person accepts the AE again: `drift` "
        "(the AE that drifted), `performance` (every accepted AE). Empty: no alarm does.",
    )
    results_not_analysed: bool = Field(
        True, description="Send also that, and why, a film was not analysed (state ineligible)."
    )
    results_picture: bool = Field(
        True, description="Send a picture of each scored film beside its report; false for a PACS that takes none."
    )
    results_hours: float = Field(
        168.0,
        gt=0,
        description="Hours for which a result is tried where the destination is away or refuses; waits double from "
        "10 s to an hour. Then it is given up, and waits for `xrayq report resend`.",
    )

    results_confirm: Literal["auto", "off"] = Field(
        "auto",
        description="auto: a PACS is asked whether it holds what it was sent, by storage commitment and C-FIND, and a "
        "film is reported when it says so. What it takes neither of, and off: its status of the C-STORE counts.",
    )
    commitment_to: Annotated[tuple[str, ...], NoDecode, AfterValidator(setting_values.commitment_routes)] = Field(
        (),
        description="Where AEs that ask for storage commitment are reported to, `AE@host:port` or `tls:AE@host:port` "
        "each, where AE is the title with which they ask. One that is not here is reported to as long as the "
        "association of its question is open, and not after.",
    )
    commitment_hours: float = Field(
        72.0,
        gt=0,
        description="Hours for which a report of storage commitment is tried; waits double from 5 s to an hour. Then "
        "it is given up: the AE may ask again.",
    )
    hl7_template: Place | None = Field(
        None, description="TOML file that says which field of an HL7 message holds what; default: the shipped one."
    )
    hl7_character_set: Annotated[str, AfterValidator(setting_values.hl7_character_set)] = Field(
        "UNICODE UTF-8",
        description="Character set of HL7 messages (MSH-18), a name of HL7 table 0211: `UNICODE UTF-8`, `ASCII`, "
        "`8859/1` to `8859/9`, `8859/15`.",
    )
    told_flags: Names = Field((), description="Findings whose flag is told by webhook and mail; empty: every one.")
    urgent: Names = Field(
        (),
        description="Findings whose flag is urgent: told also in the quiet hours, and an HL7 message is STAT.",
    )
    quiet_hours: Annotated[str, AfterValidator(setting_values.quiet_hours)] = Field(
        "",
        description="HH:MM-HH:MM by `time_zone`, in which no webhook or mail of a flag goes out that is not urgent: "
        "it waits until they end. Empty: none.",
    )
    link: Annotated[str, AfterValidator(setting_values.link)] = Field(
        "",
        description="Link in a webhook and mail of a flag, such as `https://reading.example/xrayq/{instance}`; "
        "{instance} is our id. Empty: none.",
    )

    time_zone: Annotated[str, AfterValidator(setting_values.time_zone)] = Field(
        "UTC", description="Zone in which a day of the audit report begins, such as Europe/Berlin."
    )

    report_time: Annotated[str, AfterValidator(setting_values.time_of_day)] = Field(
        "01:00",
        description="When the report of the day before is made, HH:MM; empty: never.",
    )
    report_folder: Place | None = Field(
        None, description="Folder of the reports that are made each night; default `home`/reports."
    )
    site: Annotated[str, AfterValidator(setting_values.printable_line)] = Field(
        "", max_length=64, description="Name of this installation, shown in reports and alarms."
    )

    drift_reference_films: int = Field(500, ge=100, description="First films of an AE that become its drift reference.")
    drift_least_films: int = Field(
        50, ge=20, description="Films of a night (else of a week) below which none is tested."
    )
    drift_alpha: float = Field(0.001, gt=0, lt=1, description="False discovery rate of a night's drift tests.")
    drift_psi: float = Field(
        0.1, ge=0, description="Population stability index, above what chance gives, from which drift counts."
    )

    alarm_seconds: float = Field(
        60.0, gt=0, description="How often the rules are looked at that do not wait for the night."
    )
    alarm_backlog_seconds: float = Field(
        600.0, gt=0, description="Age of the oldest waiting film that raises an alarm."
    )
    alarm_dead_letters: int = Field(1, gt=0, description="Dead letters within 24 hours that raise an alarm.")
    alarm_spool_mib: int = Field(
        4096, ge=0, description="Free space of the spool below which an alarm is raised; the reserve, if that is more."
    )
    alarm_refusals: int = Field(
        20,
        gt=0,
        description="Refused C-STOREs, or presentation contexts, of one AE within an hour that raise an alarm.",
    )
    alarm_quarantine_films: int = Field(1, gt=0, description="Films in quarantine that raise an alarm.")
    alarm_silent_films: int = Field(
        15,
        gt=0,
        description="Films a silent AE sent in the same hours of earlier weeks, from which an alarm is raised.",
    )
    alarm_report_hours: float = Field(3.0, gt=0, description="Hours a night's report may be late.")
    alarm_result_minutes: float = Field(
        60.0,
        gt=0,
        description="Minutes from the end of a film in which its result is to be at its destination, and confirmed.",
    )
    alarm_certificate_days: float = Field(
        30.0, ge=0, description="Days before our certificate for TLS expires, from which an alarm is raised."
    )
    alarm_audit_minutes: float = Field(
        30.0, gt=0, description="Minutes after an audit event in which the audit repository is to have it."
    )

    ask_pacs: Annotated[tuple[str, ...], NoDecode, AfterValidator(setting_values.asked_pacs)] = Field(
        (),
        description="PACSs that are asked by C-FIND each night, before the report is made, which chest films of the "
        "day they have: `CALLED_AE@host:port`, or over TLS `tls:CALLED_AE@host:port`. What they have and never came "
        "is in the report. Which films count: `modalities` and `body_parts`. Empty: none is asked, and the report's "
        "accounts begin with what came.",
    )
    ask_words: Names = Field(
        (),
        description="Words such as `chest,thorax`: a film of the PACS without Body Part Examined counts only where the "
        "description of its study or series has one of them. Empty: it counts.",
    )
    ask_settled_minutes: float = Field(
        60.0, ge=0, description="A film of the PACS that is younger may still be on its way, and is not missing."
    )
    ask_seconds: float = Field(
        300.0, gt=0, le=600, description="Seconds for asking all PACSs in a night; then the report is made without."
    )
    backfill_live_films: int = Field(
        10, gt=0, description="Live films that wait or are at work, from which on a backfill rests."
    )
    backfill_results: Literal["pacs", "all", "none"] = Field(
        "pacs",
        description="Where results of films go that a backfill fetched: `pacs`, to PACSs of `results_to` alone, so "
        "that no flag of an old film calls anybody; `all`, as those of live films; `none`.",
    )
    alarm_not_received_films: int = Field(
        1, gt=0, description="Films of the last 28 days that a PACS has and that did not come."
    )

    smtp_host: str = Field("", description="Mail server for alarms and messages; empty: no mail.")
    smtp_port: int = Field(587, gt=0, le=65535, description="Port of the mail server.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How the connection is encrypted."
    )
    smtp_user: str = Field("", description="Empty: no log-in.")
    smtp_password: SecretStr = Field(SecretStr(""), description="Password of `smtp_user`.")
    mail_from: MailAddress = Field("", description="Sender address of alarms and messages.")
    mail_to: Annotated[tuple[MailAddress, ...], NoDecode] = Field((), description="Who gets alarms by mail.")
    webhook_url: Annotated[str, AfterValidator(setting_values.web_address)] = Field(
        "", description="URL that alarms are posted to; empty: none."
    )
    webhook_secret: SecretStr = Field(
        SecretStr(""),
        description="Key of the webhook's signature: `whsec_` and base64, as Standard Webhooks has it, or plain text "
        f"of {setting_values.LEAST_SECRET} characters or more, whose bytes are the key (for a library that wants "
        "`whsec_`: `whsec_` and the base64 of that text).",
    )
    delivery_attempts: int = Field(12, gt=0, description="Attempts to deliver an alarm; waits double up to an hour.")

    audit_to: Annotated[str, AfterValidator(setting_values.audit_to)] = Field(
        "",
        description="Audit repository of the site, which gets DICOM audit messages (PS3.15 A.5): "
        "`syslog-tls://host:6514`, with certificate and authorities as for TLS, or `syslog-udp://host:514`. "
        "Empty: none.",
    )
    audit_source: Annotated[str, AfterValidator(setting_values.printable_line)] = Field(
        "", max_length=64, description="Who reports, in audit messages; empty: the name of the relay's machine."
    )
    audit_patient_id: bool = Field(
        False,
        description="Put the Patient ID into audit messages about studies. The relay then reads it from the film in "
        "the spool; false: they have `withheld` in its place.",
    )

    evidence_key: Place | None = Field(
        None,
        description="Private key that `xrayq evidence make` signs with, from `xrayq evidence keygen`; default "
        "`home`/evidence.key.",
    )

    http_host: str = Field("127.0.0.1", description="Address of the metrics and health endpoints.")
    http_token: SecretStr = Field(
        SecretStr(""),
        description="Bearer token for metrics and for the words of health checks. Without one they are told to this "
        "machine alone: only where `XRAYQ_HTTP_HOST` is a loopback address.",
    )
    gateway_http_port: int = Field(9110, ge=0, le=65535, description="Port of the gateway's endpoints; 0: none.")
    relay_http_port: int = Field(9111, ge=0, le=65535, description="Port of the relay's endpoints; 0: none.")
    worker_http_port: int = Field(9112, ge=0, le=65535, description="Port of the worker's endpoints; 0: none.")
    stall_seconds: float = Field(
        30.0, ge=5, description="A worker that consumes nothing for so long, while Redis answers, starts anew."
    )

    log_format: Literal["text", "json"] = Field("text", description="text for people, json for machines.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")

    @field_validator(*LISTS, mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _whole_channels(self) -> Self:
        """Half a configuration would be found out by the first message that does not arrive."""
        schemes = {setting_values.result_route(text).scheme for text in self.results_to}
        mails, posts = "mailto" in schemes, not schemes.isdisjoint(("http", "https"))
        if self.smtp_host and not (self.mail_from and (self.mail_to or mails)):
            raise ValueError("XRAYQ_SMTP_HOST needs XRAYQ_MAIL_FROM and XRAYQ_MAIL_TO (or mailto: in XRAYQ_RESULTS_TO)")
        if (self.mail_to or mails) and not self.smtp_host:
            variable = "XRAYQ_MAIL_TO" if self.mail_to else "mailto: in XRAYQ_RESULTS_TO"
            raise ValueError(f"{variable} needs XRAYQ_SMTP_HOST: without it no mail is sent")
        if self.smtp_user and self.smtp_security == "none":
            raise ValueError(
                "XRAYQ_SMTP_USER needs XRAYQ_SMTP_SECURITY starttls or tls: a password is not sent in plain text"
            )
        secret = self.webhook_secret.get_secret_value()
        if self.webhook_url or posts:
            variable = "XRAYQ_WEBHOOK_URL" if self.webhook_url else "A webhook in XRAYQ_RESULTS_TO"
            try:
                setting_values.webhook_key(secret)
            except ValueError as error:
                raise ValueError(f"{variable} needs XRAYQ_WEBHOOK_SECRET, {error}") from None
        elif secret:
            raise ValueError(
                "XRAYQ_WEBHOOK_SECRET needs XRAYQ_WEBHOOK_URL, or a webhook in XRAYQ_RESULTS_TO: "
                "without them nothing is posted"
            )
        return self

    @model_validator(mode="after")
    def _whole_tls(self) -> Self:
        if not (self.port or self.tls_port):
            raise ValueError("XRAYQ_PORT 0 needs XRAYQ_TLS_PORT: no port would be left")
        if self.tls_port and not (self.tls_certificate and self.tls_key):
            raise ValueError("XRAYQ_TLS_PORT needs XRAYQ_TLS_CERTIFICATE and XRAYQ_TLS_KEY")
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("XRAYQ_TLS_CERTIFICATE and XRAYQ_TLS_KEY go together")
        for variable, by_tls in (("RESULTS", self.results_by_tls), ("COMMITMENT", self.commitment_by_tls)):
            if by_tls and not self.tls_authorities:
                raise ValueError(f"XRAYQ_{variable}_TO tls: needs XRAYQ_TLS_AUTHORITIES: who signs its certificate")
        if any(text.lower().startswith("tls:") for text in self.ask_pacs) and not self.tls_authorities:
            raise ValueError("XRAYQ_ASK_PACS tls: needs XRAYQ_TLS_AUTHORITIES: who signs the PACS's certificate")
        if self.audit_to.startswith("syslog-tls") and not self.tls_authorities:
            raise ValueError("XRAYQ_AUDIT_TO syslog-tls needs XRAYQ_TLS_AUTHORITIES: who signs its certificate")
        if self.tls_port and self.tls_clients == "certified" and not self.tls_authorities:
            raise ValueError("XRAYQ_TLS_CLIENTS certified needs XRAYQ_TLS_AUTHORITIES: who signs their certificates")
        return self

    @model_validator(mode="after")
    def _whole_http(self) -> Self:
        """Whom nobody admits would be let in, or nobody."""
        for name, read in (("http_token", setting_values.token), ("stow_tokens", setting_values.named_tokens)):
            try:
                read(getattr(self, name).get_secret_value())
            except ValueError as error:
                raise ValueError(f"XRAYQ_{name.upper()} {error}") from None
        if not self.stow:
            return self
        place, certified = setting_values.listening_place(self.stow), self.tls_clients == "certified"
        if place.tls and not (self.tls_certificate and self.tls_key):
            raise ValueError("XRAYQ_STOW tls: needs XRAYQ_TLS_CERTIFICATE and XRAYQ_TLS_KEY")
        if place.tls and certified and not self.tls_authorities:
            raise ValueError("XRAYQ_STOW tls: needs XRAYQ_TLS_AUTHORITIES, or XRAYQ_TLS_CLIENTS any")
        admitted = self.stow_tokens.get_secret_value() or (place.tls and certified)
        if not admitted and not setting_values.is_loopback(place.host):
            raise ValueError(
                "XRAYQ_STOW needs XRAYQ_STOW_TOKENS, or tls: and XRAYQ_TLS_CLIENTS certified: everybody could push"
            )
        return self

    @model_validator(mode="after")
    def _a_port_each(self) -> Self:
        """Two processes of one machine: the second would work without metrics and without a health check."""
        names: dict[int, str] = {}
        for name in ("port", "tls_port", "gateway_http_port", "relay_http_port", "worker_http_port"):
            port, variable = getattr(self, name), f"XRAYQ_{name.upper()}"
            if port and port in names:
                raise ValueError(f"{names[port]} and {variable} are both {port}: give each its own")
            names[port] = variable
        for name, place in (("XRAYQ_STOW", self.stow), ("XRAYQ_WEB", self.web)):
            if not place:
                continue
            if (port := setting_values.listening_place(place).port) in names:
                raise ValueError(f"{names[port]} and {name} are both {port}: give each its own")
            names[port] = name
        return self

    @property
    def results_by_tls(self) -> bool:
        return any(setting_values.result_route(text).scheme.startswith("tls") for text in self.results_to)

    @property
    def commitment_by_tls(self) -> bool:
        return any(setting_values.commitment_route(text).scheme == "tls" for text in self.commitment_to)

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'xrayq.db'}"

    @property
    def local_host(self) -> str:
        """Address of the port without TLS."""
        return self.plain_host or self.host

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
    def reports(self) -> Path:
        return self.report_folder or self.home / "reports"

    @property
    def signing_key(self) -> Path:
        return self.evidence_key or self.home / "evidence.key"

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
        toml = TomlConfigSettingsSource(settings_cls, Path(os.environ.get(CONFIG_VARIABLE, CONFIG_FILE)))
        return init_settings, SecretFiles(settings_cls), env_settings, toml


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))
