"""The outbox and the errands, leased rows of the database, and Celery, which carries their ids."""
