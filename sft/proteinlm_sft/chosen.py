"""Which proteins a recipe takes, into instruction data and texts alike."""

from proteinlm_sft.entry import Entry
from proteinlm_sft.recipe import KEYWORD_IDS, Exclude


def reason_to_drop(entry: Entry, *, unreviewed: bool, exclude: Exclude) -> str | None:
    """Return why a protein is left out, or None.

    Keywords are compared without regard to case. A number in `exclude.taxa` is the entry's own
    taxon; names are the organism or any group of its lineage.
    """
    if not (entry.reviewed or unreviewed):
        return "unreviewed"
    if exclude.keywords:
        named = {KEYWORD_IDS.get(keyword, keyword).casefold() for keyword in exclude.keywords}
        if named & {keyword.casefold() for keyword in entry.keywords}:
            return "excluded_keyword"
    if exclude.taxa and {entry.taxon_id, entry.organism, *entry.lineage} & set(exclude.taxa):
        return "excluded_taxon"
    return None
