#![no_main]

#[path = "../src/session_token.rs"]
mod session_token;

libfuzzer_sys::fuzz_target!(|input: &[u8]| session_token::session_token(input));
