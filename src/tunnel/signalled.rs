//! Connections that are negotiated over a program's own signalling.
