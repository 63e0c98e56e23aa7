//! The committed inputs of the fuzz targets that are sessions.

use std::fs;

use super::house::root;

/// Records with another schema are no sessions, so the targets would explore little beyond the schema number.
#[test]
fn the_sessions_among_the_fuzz_seeds_have_the_schema_of_records() {
    let encoding = fs::read_to_string(root().join("src/record/encoding.rs")).unwrap();
    let (_, schema) = encoding.split_once("const SCHEMA: u8 = ").unwrap();
    let (schema, _) = schema.split_once(';').unwrap();
    let schema: u8 = schema.parse().unwrap();
    // The kind of the input comes first, and in cookies the number of chunks.
    for (seed, place) in [
        ("cookies/cut", 2),
        ("cookies/idle", 2),
        ("cookies/session", 2),
        ("stored/extreme_times", 1),
        ("stored/session", 1),
    ] {
        let bytes = fs::read(root().join("fuzz/seeds").join(seed)).unwrap();
        assert_eq!((bytes[0], bytes[place]), (b's', schema), "{seed}");
    }
}
