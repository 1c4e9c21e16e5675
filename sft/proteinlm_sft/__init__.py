"""ProteinLMDataset: built from its public sources, split, checked and described."""
