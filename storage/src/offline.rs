//! Reading a log that this process does not own.
