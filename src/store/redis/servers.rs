//! The server, cluster or connection of the application that executes the commands of a store.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use redis::aio::ConnectionLike;
use redis::{Cmd, RedisResult, Value};

use super::address::RedisUrl;
use super::cluster::Cluster;
use super::error::CommandError;
use super::node::{Node, Options};
use super::tls::Tls;

#[derive(Debug)]
pub(super) enum Servers {
    Single(Node),
    Cluster(Cluster),
    Application(Box<dyn Connection>),
}

/// A connection of the application, type-erased.
pub(super) trait Connection: Send + Sync {
    fn send<'a>(&self, command: &'a Cmd) -> Response<'a>;
}

type Response<'a> = Pin<Box<dyn Future<Output = RedisResult<Value>> + Send + 'a>>;

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Connection for C {
    fn send<'a>(&self, command: &'a Cmd) -> Response<'a> {
        let mut connection = self.clone();
        Box::pin(async move { command.query_async(&mut connection).await })
    }
}

impl fmt::Debug for dyn Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

impl Servers {
    pub(super) fn new(url: &RedisUrl, tls: &Tls) -> Self {
        let options = Arc::new(Options::new(url, tls));
        match &url.addresses[..] {
            [address] if !url.cluster => Self::Single(Node::new(address.clone(), options)),
            addresses => Self::Cluster(Cluster::new(addresses.to_vec(), options)),
        }
    }

    /// Sends a command once. `slot` is that of its keys.
    pub(super) async fn send(&self, slot: u16, command: &Cmd) -> Result<Value, CommandError> {
        match self {
            Self::Single(node) => node.send(command).await,
            Self::Cluster(cluster) => cluster.send(slot, command).await,
            Self::Application(connection) => Ok(connection.send(command).await?),
        }
    }
}
