#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bucle::fuzzing::sio_client(input));
