//! **Carry**: the only place that names the WebRTC stack.
