#![no_main]

#[path = "../src/receipt_handle.rs"]
mod receipt_handle;

libfuzzer_sys::fuzz_target!(|input: &[u8]| receipt_handle::receipt_handle(input));
