//! Bytes as a request, signed by the book: it verifies, and no change of it does.
#![no_main]

#[path = "../../api/tests/signatures/check.rs"]
mod check;
#[path = "../../api/tests/signatures/exchange.rs"]
mod exchange;
#[path = "../../api/tests/signatures/signer.rs"]
mod signer;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| check::check(&exchange::Exchange::from_bytes(bytes)));
