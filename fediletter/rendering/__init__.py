"""Records become documents: activities, objects, actors, feed entries. Pure."""
