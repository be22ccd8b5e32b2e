#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| selkie_fuzz::targets::merging(data));
