"""What a night's report holds, and how it is made."""
