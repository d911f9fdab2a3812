#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sealq_fuzz::sigv4(input));
