//! From bytes to what a client sees: whole characters, and nothing of a stop string.
