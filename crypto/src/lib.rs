//! SealQ crypto.
