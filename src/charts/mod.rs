//! **Decide**: the statecharts.
