//! SealQ storage.
