//! Test servers that a browser can reach.

use super::browser::{Browser, Site, Transport};
use super::server::TestServer;

impl TestServer {
    /// Creates a browser that can reach this server and uses its clock. [`Browser::with_server`] adds another server.
    pub fn browser(&self) -> Browser {
        Browser::new().with_clock(self.clock()).with_server(self)
    }
}

impl Browser {
    /// Connects one more test server, so that users of this browser can sign in at each.
    ///
    /// The browser keeps its clock, by which cookies expire. Each server has a request log, keys and a clock of its own;
    /// [`TestServer::with_clock`] lets several share the clock. Servers of one origin, such as the realms of Keycloak, are
    /// told apart by the paths of their issuers.
    ///
    /// The [module](super#test-several-providers) has an example.
    #[must_use]
    pub fn with_server(self, server: &TestServer) -> Self {
        let issuer = &server.shared.issuer;
        let transport = Transport::new(server.clone());
        self.with_site(Site::new(issuer.origin(), issuer.path(), transport))
    }
}
