"""README.txt of a pack: what each file is, what is proved and what is not, and how to verify it without xrayq."""

from model.notice import NOTICE

TEXT = """{notice}

EVIDENCE PACK OF XRAYQ

How the result of each film in this pack came about, signed by the hospital that made it.

  ! This pack holds patient data: the DICOM files in it (film-*/*.dcm) name the patient. film.json has UIDs and the
  ! patient's age. Audit events name staff who acted. Keep it as you keep the films.

WHAT IS IN IT

manifest.json         when it was made, by whom and with which versions; the films; the SHA-256 of every other file
manifest.sig          the Ed25519 signature of manifest.json, 64 bytes
public.pem            the public key that it verifies with
settings.json         the settings in force when the pack was made, without secrets. xrayq keeps no earlier settings
bundle-*/             of each bundle (network, calibration, operating points) that scored: its manifest, whose SHA-256
                      is the bundle's digest, and its model card. The network itself is not in the pack
film-*/               of each film that was sent, and of each revision of it, by its instance id:
  film.json           its row in the database; what the gate measured; whether it still lies in the spool as received;
                      scores that were not as the audit trail tells when the pack was made
  score-*.json        a score as it was written: logits, probabilities, operating points, flags. The SHA-256 of this
                      file stands in the audit trail, in the event "scored" (of a shadow: "shadow_scored") as "score"
  replay.json         the score computed once more from the film and the bundle when the pack was made, or why not
  trail.jsonl         every event of the audit trail that is of this film, a line each
  trail.json          ids and digests of these events and of their neighbours, and the trail's heads of these days
  deliveries.json     what was sent where, when, and what each destination answered; what waits or was given up
  result-*.dcm        the objects that were sent, made once more
  results.json        of each object: the SHA-256 of the data set here, and that of what was sent
  alarms.json         alarms that stood on the days of these events. Their texts are left out: they may name other films
  film.dcm            the film as it was received, where it was asked for. Its SHA-256 is "film_digest" in manifest.json

VERIFY IT WITH XRAYQ

  xrayq evidence verify THIS.zip --key HOSPITAL.pem

needs no database and no settings. HOSPITAL.pem is the hospital's public key, from a source that you trust and not from
this pack: whoever changes a pack can sign it anew with a key of their own. Without --key only wholeness is checked.

VERIFY IT WITHOUT XRAYQ

In a folder into which the pack was unpacked, with OpenSSL 3 (1. to 3. in this order):

1. Whose key is it? This prints its fingerprint. Compare it with the one that the hospital gives you.

  openssl pkey -pubin -in public.pem -outform DER | sha256sum

2. Was the manifest signed with it?

  openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in manifest.json -sigfile manifest.sig

3. Is every file the one that the manifest lists?

  awk -F'"' '$2 == "name" {{n = $4}} $2 == "sha256" {{print $4 "  " n}}' manifest.json | sha256sum --check

4. Is an event of the audit trail what its digest was made of? For the first one; compare with "digest" in trail.json:

  sed -n 1p film-{film}/trail.jsonl | tr -d '\\n' | sha256sum

5. Is a score the one that the audit trail tells of? Compare with "score" in the event "scored":

  sha256sum film-{film}/score-*.json; grep '"action":"scored"' film-{film}/trail.jsonl

6. Is a result what was sent? OFFSET is "data_set_offset" in results.json, and one more. Compare with "sent" there, and
with "digests" in the events "result_sent":

  tail -c +OFFSET film-{film}/result-1.dcm | sha256sum

WHAT THE AUDIT TRAIL PROVES HERE, AND WHAT NOT

Each event has a digest: SHA-256 over the digest of the event before it and over its own content. Events of all films
make one chain.

- Proved by this pack alone: the events of these films are, to the letter, those that their digests were made of, and
  events that stand directly after each other are tied. A score that differs from its event is found.
- Not proved by this pack alone: that these events stand in the hospital's chain, and that none is left out. The events
  between them are of other patients' films and cannot be in this pack, and without their content their digests cannot
  be computed. The hospital attests it with its signature: when the pack was made, xrayq verified the whole chain, and
  manifest.json ("audit_trail") has what it found, and the chain's head.
- To check that, too: "xrayq audit export" at the hospital writes the whole trail, and

    xrayq evidence verify THIS.zip --key HOSPITAL.pem --trail trail.jsonl

  computes that chain and looks up each event, its neighbours, and the heads. The head of each day stands in that
  night's report (report.json, "anchor") as well, of which others may have kept a copy since.
- Who can write the database and has the private key can make another chain and sign it. Copies that were kept
  elsewhere (reports of the night, earlier packs) are what tells it apart.
"""


def text(film: int) -> str:
    """
    Args:
        film: instance id of a film in the pack, for the examples.
    """
    return TEXT.format(notice=NOTICE, film=film)
