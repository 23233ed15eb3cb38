"""The schema's history. `xrayq db upgrade` brings a database to the newest revision."""
