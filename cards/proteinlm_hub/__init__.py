"""Cards in which every number has a source, and publishing them with what they describe."""
