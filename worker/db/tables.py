"""Tables. The schema itself is made by `migrations`; a test holds the two together."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    false,
    true,
)

from worker.db.columns import Identifier, NullableJson, Timestamp, unique_where

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=NAMES)

instance = Table(
    "instance",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("sop_instance_uid", String(64), nullable=False),
    Column("revision", Integer, nullable=False, comment="1, 2, ... for other content under the same UID"),
    Column("sop_class_uid", String(64), nullable=False),
    Column("transfer_syntax_uid", String(64), nullable=False),
    Column("study_instance_uid", String(64), nullable=False),
    Column("series_instance_uid", String(64), nullable=False),
    Column("digest", String(64), nullable=False, comment="SHA-256 of the spooled file, its name in the spool"),
    Column("size", BigInteger, nullable=False, comment="bytes in the spool"),
    Column(
        "is_film",
        Boolean,
        nullable=False,
        server_default=true(),
        comment="false: of a SOP class that can never be one",
    ),
    Column("in_spool", Boolean, nullable=False, server_default=true(), comment="false: what came was not kept"),
    Column(
        "admitted",
        Boolean,
        nullable=False,
        server_default=true(),
        comment="false: an unknown peer sent it; it is in quarantine, or was rejected there, and counts nowhere",
    ),
    Column("calling_ae", String(16), nullable=False),
    Column("called_ae", String(16), nullable=False),
    Column("modality", String(64), nullable=False),
    Column("body_part", String(64), nullable=False),
    Column("view_position", String(64), nullable=False),
    # Null in the three below: not read, by the release before.
    Column("manufacturer", String(64), comment="Manufacturer (0008,0070)"),
    Column("model_name", String(64), comment="Manufacturer's Model Name (0008,1090)"),
    Column("station", String(64), comment="Station Name (0008,1010)"),
    # Null in the four below: not read, by the release before. The age is then of that release too.
    Column("view_code", String(64), comment="what View Code Sequence says: PA, AP, ..."),
    Column("patient_orientation", String(16), comment="directions of rows and columns"),
    Column("age_years", Float),
    Column("derived", String(16), comment='what was made of the film, "" for itself'),
    Column("burned_in", String(16), nullable=False, server_default="", comment="Burned In Annotation (0028,0301)"),
    Column("quality_control", String(16), comment="Quality Control Image (0028,0300)"),
    Column(
        "accession_digest",
        String(64),
        nullable=False,
        server_default="",
        comment="keyed, see worker/db/pseudonyms.py; labels name films by it",
    ),
    Column(
        "backfilled",
        Boolean,
        nullable=False,
        server_default=false(),
        comment="a backfill asked for it: an old film, and in no figure of the day on which it came",
    ),
    Column("state", String(16), nullable=False),
    Column("reason", String(64), comment="why ineligible or failed, a code"),
    Column("received_at", Timestamp, nullable=False),
    Column("finished_at", Timestamp, comment="when it left the state received"),
    Column(
        "identity_changed",
        NullableJson,
        comment="of a revision: attributes of identity that differ from the revision before, keywords",
    ),
    UniqueConstraint("sop_instance_uid", "revision"),
    Index(None, "state", "received_at"),
    Index(None, "received_at"),
    Index(None, "calling_ae", "received_at"),
    Index(None, "calling_ae", "is_film", "received_at"),
    Index(None, "accession_digest"),
    Index(None, "study_instance_uid"),
)

peer = Table(
    "peer",
    metadata,
    Column("calling_ae", String(16), primary_key=True),
    Column("networks", JSON, nullable=False, comment="from which it comes, such as 10.1.2.0/24"),
    Column("certificate_subject", String(256), nullable=False, comment='RFC 4514; "" for any, and for none'),
    Column("certificate_sha256", String(64), nullable=False, comment='hex; "" as above'),
    Column("rights", JSON, nullable=False, comment="store, echo, commit"),
    Column("stores_a_minute", Integer, comment="C-STOREs; null: no limit"),
    Column("most_associations", Integer, comment="open at once; null: no limit of its own"),
    Column("changed_at", Timestamp, nullable=False),
    Column("changed_by", String(64), nullable=False),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("instance_id", Identifier, ForeignKey("instance.id"), primary_key=True),
    Column("address", String(64), nullable=False, comment="that it came from"),
    Column("why", String(16), nullable=False, comment="what of its sender was unknown: AE, ADDRESS or CERTIFICATE"),
    Column("certificate_subject", String(256), nullable=False, comment='that its sender showed; "" for none'),
    Column("certificate_sha256", String(64), nullable=False),
)

study_outcome = Table(
    "study_outcome",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("study_instance_uid", String(64), nullable=False, comment="whoever sent it: one row"),
    Column("first_received_at", Timestamp, nullable=False),
    Column("last_received_at", Timestamp, nullable=False, comment="of its newest object, duplicates not counted"),
    Column("quiet_until", Timestamp, nullable=False, comment="when its newest object is XRAYQ_STUDY_SECONDS old"),
    Column("due_at", Timestamp, comment="open, and looked at then; null: complete"),
    Column("complete_at", Timestamp, comment="last taken as complete; null before the first time"),
    # What follows is of that time. An open study keeps it until it is complete again.
    Column("version", Integer, nullable=False, comment="0 before the first time, plus 1 with each change of outcome"),
    Column("changed_at", Timestamp, comment="when this version was made"),
    Column("outcome", String(16), nullable=False, comment="waiting, flagged, no_flag, unsure, not_analysed or failed"),
    Column("reason", String(64), comment="why not_analysed or failed, a code"),
    Column("used_instance_id", Identifier, ForeignKey("instance.id"), comment="the film whose score is the outcome"),
    Column("bundle_digest", String(64), comment="of that score"),
    Column("films", Integer, nullable=False, comment="each in its newest revision"),
    Column("failed", Integer, nullable=False, comment="of the films"),
    Column("other_objects", Integer, nullable=False),
    UniqueConstraint("study_instance_uid"),
    Index(None, "due_at"),
)

secret = Table(
    "secret",
    metadata,
    Column("name", String(32), primary_key=True, comment="what it is for: digests"),
    Column("value", String(128), nullable=False, comment="hex"),
    Column("made_at", Timestamp, nullable=False),
)

web_user = Table(
    "web_user",
    metadata,
    Column("name", String(64), primary_key=True, comment="lower case"),
    Column("password_hash", String(256), nullable=False, comment="argon2id"),
    Column("role", String(16), nullable=False, comment="viewer, reader, operator or admin"),
    Column("changed_at", Timestamp, nullable=False),
    Column("changed_by", String(64), nullable=False),
)

web_session = Table(
    "web_session",
    metadata,
    Column("digest", String(64), primary_key=True, comment="SHA-256 of the id that the browser has, hex"),
    Column("name", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("started_at", Timestamp, nullable=False),
    Column("seen_at", Timestamp, nullable=False, comment="to the minute"),
    Column("ends_at", Timestamp, nullable=False, comment="however often it is seen"),
    Index(None, "name"),
    Index(None, "ends_at"),
)

score = Table(
    "score",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("instance_id", Identifier, ForeignKey("instance.id"), nullable=False),
    Column("bundle_digest", String(64), nullable=False),
    Column("role", String(16), nullable=False, server_default="live", comment="of the bundle, then: live or shadow"),
    Column("engine", String(64), nullable=False),
    Column("software_version", String(32), nullable=False),
    Column("scored_at", Timestamp, nullable=False),
    Column(
        "prediction_set",
        NullableJson,
        comment="findings of the conformal set, which rules nothing out; null where the bundle makes no sets",
    ),
    Column("notes", NullableJson, comment="reasons of the gate under which this film was scored all the same"),
    Column("device", String(32), comment="of the bundle, whose calibration it took; null: the bundle's own"),
    UniqueConstraint("instance_id", "bundle_digest"),
)

finding_score = Table(
    "finding_score",
    metadata,
    Column("score_id", Identifier, ForeignKey("score.id"), primary_key=True),
    Column("finding", String(32), primary_key=True),
    Column("logit", Float, nullable=False),
    Column("probability", Float, nullable=False, comment="calibrated, 0..1"),
    Column("interval_low", Float, comment="of the truth among films that scored alike where it was calibrated, 95 %"),
    Column("interval_high", Float),
    Column("operating_point", Float, comment="threshold in force; null where the finding has none"),
    Column("operating_point_id", String(64), comment="its name in the bundle"),
    Column("flag", Boolean, nullable=False, comment="probability >= operating_point"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("kind", String(16), nullable=False, comment="score"),
    Column("instance_id", Identifier, ForeignKey("instance.id"), nullable=False),
    Column("next_attempt_at", Timestamp, nullable=False),
    Column("lease_until", Timestamp, comment="published; published again when this passes"),
    Column("claims", Integer, nullable=False, server_default="0", comment="tasks that took it; fences old messages"),
    Column("attempts", Integer, nullable=False, server_default="0", comment="claims that count against the film"),
    Column("priority", Integer, nullable=False, server_default="0", comment="lower goes first: see states.Priority"),
    UniqueConstraint("kind", "instance_id"),
    Index(None, "next_attempt_at"),
    Index(None, "priority", "next_attempt_at"),
)

deployment = Table(
    "deployment",
    metadata,
    Column("bundle_digest", String(64), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("version", String(32), nullable=False),
    Column("path", String(1024), nullable=False, comment="folder, the same on every worker"),
    Column("role", String(16), nullable=False, comment="live, shadow or retired"),
    Column("changed_at", Timestamp, nullable=False),
    Column("changed_by", String(64), nullable=False),
    unique_where("role = 'live'", "role"),
)

truth = Table(
    "truth",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("sop_instance_uid", String(64), nullable=False, comment='"" where the accession digest names the film'),
    Column("accession_digest", String(64), nullable=False, comment='"" where the UID names it'),
    Column("reader", String(64), nullable=False),
    Column("label", String(32), nullable=False),
    Column("read_on", Date, nullable=False),
    Column("imported_at", Timestamp, nullable=False),
    UniqueConstraint("sop_instance_uid", "accession_digest", "reader"),
    Index(None, "accession_digest"),
)

label_sample = Table(
    "label_sample",
    metadata,
    Column("id", Identifier, primary_key=True, comment="its order is that of the draws, and within one that of chance"),
    Column("draw", String(64), nullable=False, comment="name of the draw"),
    Column("instance_id", Identifier, ForeignKey("instance.id"), nullable=False),
    Column("drawn_at", Timestamp, nullable=False),
    UniqueConstraint("instance_id"),
    Index(None, "draw"),
)

label_reset = Table(
    "label_reset",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("at", Timestamp, nullable=False, comment="films received before count no longer in live rates"),
    Column("actor", String(64), nullable=False),
    Column("reason", String(200), nullable=False, comment="free text of an operator, no patient data"),
)

audit_event = Table(
    "audit_event",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("at", Timestamp, nullable=False),
    Column("action", String(32), nullable=False),
    Column("instance_id", Identifier, ForeignKey("instance.id")),
    Column("actor", String(64), nullable=False, comment="calling AE, process or operator"),
    Column("detail", JSON, nullable=False),
    Column("previous", String(64), nullable=False, server_default="", comment="digest of the row before"),
    Column("digest", String(64), nullable=False, server_default="", comment="SHA-256 over previous and content"),
    Index(None, "instance_id"),
    Index(None, "at"),
    unique_where("previous <> ''", "previous"),  # a second row after the same one would be a fork
)

errand = Table(
    "errand",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column(
        "kind", String(16), nullable=False, comment="night, mail, webhook, result, confirm, lost_result or commitment"
    ),
    Column("key", String(64), nullable=False, comment="what makes it one: a date, an alarm's event"),
    Column("payload", NullableJson),
    # Of results, and of reports of our commitment, whose destination is the AE that asked.
    Column("instance_id", Identifier, comment="the film"),
    Column("destination", String(128), comment="its name"),
    Column("next_attempt_at", Timestamp, nullable=False),
    Column("lease_until", Timestamp, comment="taken; taken again when this passes"),
    Column("attempts", Integer, nullable=False, server_default="0", comment="claims; fences old ones"),
    UniqueConstraint("kind", "key"),
    Index(None, "next_attempt_at"),
    Index(None, "instance_id"),
    Index(None, "destination", "next_attempt_at"),
)

audit_feed = Table(
    "audit_feed",
    metadata,
    Column("id", Identifier, primary_key=True, comment="1: there is one row, made when there is a repository"),
    Column("last_id", Identifier, nullable=False, comment="audit event up to which the repository has everything"),
    Column("until_id", Identifier, comment="end of the batch that is on its way; tried again as it was"),
    Column("next_attempt_at", Timestamp, nullable=False),
    Column("lease_until", Timestamp, comment="taken; taken again when this passes"),
    Column("takes", Integer, nullable=False, server_default="0", comment="fences old ones"),
    Column("failures", Integer, nullable=False, server_default="0", comment="in a row"),
    Column("reason", String(64), nullable=False, server_default="", comment="of the last failure, a code"),
    Column("handed_over_at", Timestamp, comment="the last batch"),
)

alarm = Table(
    "alarm",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("rule", String(32), nullable=False),
    Column("subject", String(64), nullable=False, comment='an AE title or a finding, or ""'),
    Column("value", Float, nullable=False, comment="when it was last looked at"),
    Column("threshold", Float, nullable=False),
    Column("text", String(500), nullable=False),
    Column("raised_at", Timestamp, nullable=False),
    Column("cleared_at", Timestamp),
    Column("about", NullableJson, comment="what is wrong, one by one: instance ids, measures"),
    Column(
        "acknowledged", NullableJson, comment="at, by, why, and the value and about of then; null when raised again"
    ),
    unique_where("cleared_at IS NULL", "rule", "subject"),
    Index(None, "raised_at"),
)

film_measure = Table(
    "film_measure",
    metadata,
    Column("instance_id", Identifier, ForeignKey("instance.id"), primary_key=True),
    Column("bundle_digest", String(64), nullable=False, comment="whose gate looked"),
    Column("brightness", Float, nullable=False, comment="mean of the middle as displayed, 0..1"),
    Column("contrast", Float, nullable=False),
    Column("entropy", Float, nullable=False, comment="bits"),
    Column("clipped", Float, nullable=False),
    Column("distance", Float, comment="of the gate's network; null where the bundle has none"),
)

drift_reference = Table(
    "drift_reference",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("calling_ae", String(16), nullable=False),
    Column("measure", String(64), nullable=False),
    Column("bundle_digest", String(64), nullable=False, comment='"" where it depends on no bundle'),
    Column("films", Integer, nullable=False),
    Column("sample", JSON, nullable=False, comment="values of these films, sorted; at most 2000 of them"),
    Column("first_received_at", Timestamp, nullable=False),
    Column("last_received_at", Timestamp, nullable=False),
    Column("frozen_at", Timestamp, nullable=False),
    UniqueConstraint("calling_ae", "measure", "bundle_digest"),
)

sent_object = Table(
    "sent_object",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("instance_id", Identifier, ForeignKey("instance.id"), nullable=False, comment="the film"),
    Column("bundle_digest", String(64), nullable=False),
    Column("destination", String(128), nullable=False, comment="AE@host:port"),
    Column("sop_class_uid", String(64), nullable=False),
    Column("sop_instance_uid", String(64), nullable=False),
    Column("series_instance_uid", String(64), nullable=False),
    Column("digest", String(64), nullable=False, comment="SHA-256 of the data set as it was made"),
    Column("sent_at", Timestamp, nullable=False),
    Column("status", Integer, nullable=False, comment="of the C-STORE-RSP: 0, or a warning"),
    # What the destination said since. Sent again, all of it is asked anew.
    Column("committed_at", Timestamp, comment="its storage commitment came"),
    Column("found_at", Timestamp, comment="its answer to C-FIND had the object"),
    Column("status_counts_at", Timestamp, comment="it is not asked, or takes neither question: its status counts"),
    Column("failure_reason", Integer, comment="(0008,1197) of its last report, where it does not commit"),
    UniqueConstraint("instance_id", "bundle_digest", "destination", "sop_instance_uid", name="uq_sent_object"),
    Index(None, "sent_at"),
    Index(None, "sop_instance_uid"),
)

commitment = Table(
    "commitment",
    metadata,
    Column("transaction_uid", String(64), primary_key=True),
    Column("destination", String(128), nullable=False, comment="AE@host:port"),
    Column("asked", JSON, nullable=False, comment="SOP Instance UIDs"),
    Column("asked_at", Timestamp, nullable=False),
    Column("answered_at", Timestamp, comment="its first report came"),
)

commitment_request = Table(
    "commitment_request",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("calling_ae", String(16), nullable=False, comment="who asked whether we hold its objects"),
    Column("transaction_uid", String(64), nullable=False, comment="of its own making; it may ask twice"),
    Column("asked", JSON, nullable=False, comment="SOP Instance UID -> SOP Class UID"),
    Column("asked_at", Timestamp, nullable=False),
    Column("checked_at", Timestamp, comment="the bytes of what we hold were last read"),
    Column("failed", NullableJson, comment="SOP Instance UID -> Failure Reason (0008,1197), as of then"),
    Column("attempts", Integer, nullable=False, server_default="0", comment="to report, that ended"),
    Column("reason", String(64), nullable=False, server_default="", comment="why the last of them failed, a code"),
    Column("answered_at", Timestamp, comment="it took the report"),
    Column("given_up_at", Timestamp, comment="it is not reported to any more"),
    Index(None, "calling_ae", "transaction_uid"),
    Index(None, "asked_at"),
)

sent_message = Table(
    "sent_message",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("instance_id", Identifier, ForeignKey("instance.id"), nullable=False, comment="the film"),
    Column("bundle_digest", String(64), nullable=False),
    Column("destination", String(128), nullable=False, comment="mllp://host:port, https://host#digest, mailto:address"),
    Column("kind", String(16), nullable=False, comment="hl7, webhook or mail"),
    Column("message_id", String(64), nullable=False, comment="MSH-10, webhook-id or Message-ID without its domain"),
    Column("digest", String(64), nullable=False, comment="SHA-256 of the message as it was made"),
    Column("sent_at", Timestamp, nullable=False),
    Column("answer", String(16), nullable=False, comment="AA or CA, an HTTP status, 250"),
    UniqueConstraint("instance_id", "bundle_digest", "destination", "message_id", name="uq_sent_message"),
    Index(None, "sent_at"),
)

perhaps_sent = Table(
    "perhaps_sent",
    metadata,
    Column("instance_id", Identifier, ForeignKey("instance.id"), primary_key=True, comment="the film"),
    Column("bundle_digest", String(64), primary_key=True),
    Column("destination", String(128), primary_key=True, comment="as of sent_object and sent_message"),
    Column("objects", JSON, nullable=False, comment="DICOM objects of it: UIDs; of a message none"),
    Column("begun_at", Timestamp, nullable=False, comment="the first attempt that may have arrived"),
)

refused_film = Table(
    "refused_film",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("sop_instance_uid", String(64), nullable=False),
    Column("calling_ae", String(16), nullable=False),
    Column("status", Integer, nullable=False, comment="of the C-STORE-RSP"),
    Column("refused_at", Timestamp, nullable=False, comment="last; older ones are pruned"),
    Index(None, "sop_instance_uid"),
    Index(None, "refused_at"),
)

pacs_answer = Table(
    "pacs_answer",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("pacs", String(16), nullable=False, comment="its AE title"),
    Column("day", Date, nullable=False, comment="Study Date that it was asked for"),
    Column("asked_at", Timestamp, nullable=False),
    Column("fault", String(64), comment="why there is no whole answer, a code; null: it is whole"),
    Column("films", Integer, nullable=False, comment="chest films that it has"),
    Column("here", Integer, nullable=False),
    Column("on_its_way", Integer, nullable=False, comment="too young to be missed"),
    Column("unreadable", Integer, nullable=False, comment="matches without a valid UID"),
    UniqueConstraint("pacs", "day"),
)

missing_film = Table(
    "missing_film",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("pacs", String(16), nullable=False),
    Column("day", Date, nullable=False),
    Column("sop_instance_uid", String(64), nullable=False),
    Column("study_instance_uid", String(64), nullable=False),
    Column("series_instance_uid", String(64), nullable=False),
    Column("modality", String(16), nullable=False),
    Column("film_at", String(16), nullable=False, comment='as the PACS has it, local, "" without'),
    Column("accession_digest", String(64), nullable=False, comment="keyed, see worker/db/pseudonyms.py"),
    Column("why", String(16), nullable=False, comment="a code; whether it came since is read from instance"),
    Column("status", String(8), comment="of the C-STORE-RSP that refused it, in hexadecimal"),
    Column("calling_ae", String(16), nullable=False, comment='whose C-STORE or context was refused, ""'),
    Column("found_at", Timestamp, nullable=False),
    UniqueConstraint("pacs", "sop_instance_uid"),
    Index(None, "day"),
)

backfill = Table(
    "backfill",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("pacs", String(16), nullable=False, comment="its AE title, as in XRAYQ_ASK_PACS"),
    Column("sends_as", String(16), nullable=False, comment="AE title under which it sends"),
    Column("first_day", Date, nullable=False),
    Column("last_day", Date, nullable=False),
    Column("rate", Float, nullable=False, comment="films a minute, at most"),
    Column("hours", String(11), nullable=False, comment='HH:MM-HH:MM on the clock of the site, "" for any'),
    Column("way", String(8), nullable=False, comment="move or get"),
    Column("state", String(16), nullable=False, comment="running, paused, done or cancelled"),
    Column("rests", String(64), nullable=False, server_default="", comment="why nothing is asked for now, a code"),
    Column("rests_since", Timestamp),
    Column("failures", Integer, nullable=False, server_default="0", comment="of the PACS, in a row"),
    Column("next_at", Timestamp, nullable=False, comment="nothing is asked for before; kept near now by a relay"),
    Column("started_at", Timestamp, nullable=False),
    Column("started_by", String(64), nullable=False),
    Column("resumed_at", Timestamp, nullable=False, comment="or started"),
    Column("ended_at", Timestamp),
    unique_where("ended_at IS NULL", "pacs"),
)

backfill_day = Table(
    "backfill_day",
    metadata,
    Column("backfill_id", Identifier, ForeignKey("backfill.id"), primary_key=True),
    Column("day", Date, primary_key=True, comment="Study Date"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", Timestamp, nullable=False, comment="it is not asked for before"),
    Column("fault", String(64), nullable=False, server_default="", comment="of the last attempt, a code"),
    Column("asked_at", Timestamp, comment="there was a whole answer; null: the PACS is still to be asked"),
    Column("films", Integer, nullable=False, server_default="0", comment="chest films that it has of that day"),
    Column("here", Integer, nullable=False, server_default="0", comment="of these, when it was asked"),
)

backfill_film = Table(
    "backfill_film",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("backfill_id", Identifier, ForeignKey("backfill.id"), nullable=False),
    Column("day", Date, nullable=False),
    Column("sop_instance_uid", String(64), nullable=False),
    Column("study_instance_uid", String(64), nullable=False),
    Column("series_instance_uid", String(64), nullable=False),
    Column("state", String(16), nullable=False, comment="wanted, asked, quarantined, here or failed"),
    Column("asked_at", Timestamp, comment="last; null: never. Whatever comes after that is a film of the backfill"),
    Column("attempts", Integer, nullable=False, server_default="0", comment="to get it, that count"),
    Column("next_at", Timestamp, nullable=False, comment="it is not asked for before; of an asked one: then again"),
    Column("reason", String(64), nullable=False, server_default="", comment="what the last attempt came to, a code"),
    Column("came_at", Timestamp, comment="it was found here"),
    UniqueConstraint("backfill_id", "sop_instance_uid"),
    Index(None, "sop_instance_uid"),
    Index(None, "backfill_id", "state", "next_at"),
    Index(None, "backfill_id", "came_at"),
)

device = Table(
    "device",
    metadata,
    Column("calling_ae", String(16), primary_key=True),
    Column("state", String(16), nullable=False, comment="silent or accepted; without a row it is silent"),
    Column("changed_at", Timestamp, nullable=False),
    Column("changed_by", String(64), nullable=False),
    Column("reason", String(200), nullable=False, comment="free text of an operator, no patient data"),
    Column("evidence", NullableJson, comment="what its labelled films said when it was accepted; null: it was without"),
    Column("silenced_at", Timestamp, comment="when it was silenced last, kept when it is accepted again; null: never"),
)
