//! The limits on the length of tokens.

/// Maximum length of a token that any caller can send: access tokens, logout tokens and signed responses that pass
/// through the browser. In bytes. Issuers send shorter ones, and few servers accept a longer header field.
pub(crate) const MAX_PRESENTED_TOKEN: usize = 16 * 1024;

/// Maximum length of a signed document that the authorization server sends in response to a request of this
/// application, such as an ID token with many groups. In bytes.
pub(crate) const MAX_RECEIVED_TOKEN: usize = 256 * 1024;
