//! The routes of a login layer.

/// A route of the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// That of the provider with this index, or of the layer.
    Login(Option<usize>),
    /// That of the provider with this index.
    Callback(usize),
    /// A login or a callback at a provider that the layer does not have.
    UnknownProvider,
    Logout,
    Session,
    BackchannelLogout,
    FrontchannelLogout,
    ClientMetadata,
    Jwks,
}
