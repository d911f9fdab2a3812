//! SealQ config.
