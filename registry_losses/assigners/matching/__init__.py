"""Who belongs to whom once the candidates are known: costs, alignment, dynamic k, conflicts."""
