//! **Speak**: types and codecs of every frame.
