//! Presets of providers, against imitations of the providers.
//!
//! What an imitation answers comes from the public documentation of its provider or from bug reports, not from the preset.
//! Each names its source.

mod apple;
mod documents;
mod github;
mod google;
mod identity_source;
mod imitation;
mod microsoft;
mod settings;
mod table;
