"""What all commands share: options, parsing, progress, sessions, training. No model is imported here."""
