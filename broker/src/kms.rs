//! Parts of the key service's API: imported material, new keys by name, and the condition keys of a key.
//!
//! Authorizes nobody: callers have found the key and allowed the action.

pub mod condition_keys;
pub mod imports;
pub mod new_key;
