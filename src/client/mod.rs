//! The client: discover, submit, watch, fetch.
