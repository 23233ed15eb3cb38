"""What the audit trail can hold: every action, and every process that acts. A person acts as `operator:` and a name:
of who typed a command, or who signed in at the web page.

These strings are kept in databases and in published reports: one that is here stays.
"""

from enum import StrEnum


class Action(StrEnum):
    """The column `action` of an audit event."""

    # what comes
    RECEIVED = "received"
    REVISION = "revision"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"
    ADMITTED = "admitted"
    REFUSED = "refused"
    CONTEXT_REFUSED = "context_refused"
    NOT_ASSOCIATED = "not_associated"
    # how a film ends
    SCORED = "scored"
    REPORTED = "reported"
    INELIGIBLE = "ineligible"
    FAILED = "failed"
    REQUEUED = "requeued"
    REJECTED = "rejected"
    # results, on their way back
    RESULT_SENT = "result_sent"
    RESULT_CONFIRMED = "result_confirmed"
    RESULT_UNCONFIRMED = "result_unconfirmed"
    RESULT_UNDELIVERED = "result_undelivered"
    RESULT_RESENT = "result_resent"
    QUERIED = "queried"
    DEVICE_ACCEPTED = "device_accepted"
    DEVICE_SILENCED = "device_silenced"
    # what we commit to
    COMMITMENT_ASKED = "commitment_asked"
    COMMITMENT_REPORTED = "commitment_reported"
    COMMITMENT_UNREPORTED = "commitment_unreported"
    # who may come
    PEER_ADDED = "peer_added"
    PEER_CHANGED = "peer_changed"
    PEER_REMOVED = "peer_removed"
    # people at the web page
    SIGNED_IN = "signed_in"
    SIGN_IN_FAILED = "sign_in_failed"
    SIGNED_OUT = "signed_out"
    USER_ADDED = "user_added"
    USER_CHANGED = "user_changed"
    USER_REMOVED = "user_removed"
    # films of past days
    BACKFILL_STARTED = "backfill_started"
    BACKFILL_PAUSED = "backfill_paused"
    BACKFILL_RESUMED = "backfill_resumed"
    BACKFILL_ENDED = "backfill_ended"
    # studies
    STUDY_COMPLETE = "study_complete"
    STUDY_CHANGED = "study_changed"
    # bundles
    BUNDLE_ACTIVATED = "bundle_activated"
    BUNDLE_SHADOWED = "bundle_shadowed"
    BUNDLE_RETIRED = "bundle_retired"
    SHADOW_SCORED = "shadow_scored"
    SHADOW_SKIPPED = "shadow_skipped"
    # measures
    LABELS_IMPORTED = "labels_imported"
    LABELS_DRAWN = "labels_drawn"
    LABELLED = "labelled"
    LABELS_RESET = "labels_reset"
    REFERENCE_FROZEN = "reference_frozen"
    # reports of the night
    REPORT_MADE = "report_made"
    REPORT_FAILED = "report_failed"
    REPORTS_SET_BACK = "reports_set_back"
    REPORT_TAKEN = "report_taken"
    # alarms
    ALARM_RAISED = "alarm_raised"
    ALARM_CLEARED = "alarm_cleared"
    ALARM_ACKNOWLEDGED = "alarm_acknowledged"
    ALARM_DELIVERED = "alarm_delivered"
    ALARM_UNDELIVERED = "alarm_undelivered"
    # who looks at films
    FILM_VIEWED = "film_viewed"
    # the service itself
    PROCESS_STARTED = "process_started"
    PROCESS_STOPPED = "process_stopped"
    TRAIL_NOT_WHOLE = "trail_not_whole"


class Actor(StrEnum):
    """The column `actor`, where a process acted of itself."""

    GATEWAY = "gateway"
    RELAY = "relay"
    WORKER = "worker"
