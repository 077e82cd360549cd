"""The values that travel between the stages: frozen, in the field's words, free of behaviour."""
