//! Keys in PEM: an accepted key has a canonical encoding and the type that the algorithm requires.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use tower_oauth::Algorithm;
use tower_oauth::issuer::StaticKeys;

/// The last bytes of the object identifier of keys for the algorithm.
const KINDS: [(Algorithm, &[u8]); 4] = [
    (Algorithm::Rs256, &[0x86, 0xf7, 0x0d, 1, 1, 1]),
    (Algorithm::Es256, &[0x86, 0x48, 0xce, 0x3d, 3, 1, 7]),
    (Algorithm::Es384, &[0x2b, 0x81, 0x04, 0, 0x22]),
    (Algorithm::EdDsa, &[0x2b, 0x65, 0x70]),
];

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        check(text);
    }
    let text = STANDARD.encode(data);
    let read = check(&format!(
        "-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n"
    ));
    let seeds: [&[u8]; 4] = [
        include_bytes!("../seeds/pem/rsa"),
        include_bytes!("../seeds/pem/p256"),
        include_bytes!("../seeds/pem/p384"),
        include_bytes!("../seeds/pem/ed25519"),
    ];
    assert_eq!(read, usize::from(read > 0 || seeds.contains(&data)));
});

/// Returns the number of algorithms that accept the key.
fn check(pem: &str) -> usize {
    let mut read = 0;
    for (algorithm, identifier) in KINDS {
        if StaticKeys::from_pem("a", algorithm, pem).is_err() {
            continue;
        }
        read += 1;
        let body: String = pem.split_ascii_whitespace().collect();
        let body = body.strip_prefix("-----BEGINPUBLICKEY-----").unwrap();
        let body = body.strip_suffix("-----ENDPUBLICKEY-----").unwrap();
        let der = STANDARD.decode(body).unwrap();
        assert_eq!(der[0], 0x30, "a sequence");
        // There is no trailing data, and the length has its shortest form.
        let length = match der[1] {
            short @ 0..0x80 => 2 + usize::from(short),
            0x81 => 3 + usize::from(der[2]),
            0x82 => 4 + usize::from(der[2]) * 256 + usize::from(der[3]),
            other => panic!("a length of {other:x}"),
        };
        assert_eq!(der.len(), length);
        assert!(
            der.windows(identifier.len())
                .any(|window| window == identifier)
        );
        for (other, _) in KINDS.iter().filter(|(other, _)| *other != algorithm) {
            assert!(
                StaticKeys::from_pem("a", *other, pem).is_err(),
                "{other} and {algorithm}"
            );
        }
    }
    read
}
