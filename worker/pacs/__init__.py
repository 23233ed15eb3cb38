"""What the PACS has, beside what came."""
