"""What arrives: ingest, duplicates and revisions, refusals, orphans."""
