"""Before any handler: connections and their patience, the guard, answers that are kept."""
