"""A Hugging Face Hub on loopback that the real clients use unmodified."""
