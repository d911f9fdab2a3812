//! SealQ api.
