//! A model file: its header, linted before anything is allocated, and its tensors.
