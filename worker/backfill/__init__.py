"""Films of past days that a PACS has, fetched and scored behind the live ones."""
