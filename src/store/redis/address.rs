//! Parsing of Redis URLs.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use redis::RedisConnectionInfo;

const DEFAULT_PORT: u16 = 6379;

/// The address of one server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Address {
    Tcp(String, u16),
    #[cfg_attr(not(unix), allow(dead_code))]
    Unix(PathBuf),
}

/// A parsed URL.
#[derive(Clone)]
pub(super) struct RedisUrl {
    /// One server, or some nodes of a cluster.
    pub(super) addresses: Vec<Address>,
    pub(super) cluster: bool,
    pub(super) tls: bool,
    pub(super) login: RedisConnectionInfo,
}

/// Without user name and password.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<String> = self.addresses.iter().map(Address::to_string).collect();
        let scheme = match (self.tls, self.cluster) {
            _ if matches!(self.addresses[..], [Address::Unix(_)]) => "redis+unix",
            (false, false) => "redis",
            (true, false) => "rediss",
            (false, true) => "redis-cluster",
            (true, true) => "rediss-cluster",
        };
        write!(f, "{scheme}://{}", addresses.join(","))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl RedisUrl {
    /// Parses a URL. The error does not repeat parts of the URL, which may contain a password.
    pub(super) fn parse(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once("://").ok_or("it has no scheme")?;
        if rest.contains('#') {
            // Other clients support `#insecure`. Here certificates are always verified.
            return Err("it must not have a fragment");
        }
        let (scheme, cluster) = match scheme.strip_suffix("-cluster") {
            Some(scheme) => (scheme, true),
            None => (scheme, false),
        };
        let tls = match scheme {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            "redis+unix" | "valkey+unix" | "unix" if !cluster => return Self::unix(rest),
            _ => return Err("its scheme is not that of Redis or Valkey"),
        };
        if rest.contains('?') {
            return Err("it must not have a query");
        }
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user_info, hosts) = match authority.rsplit_once('@') {
            Some((user_info, hosts)) => (Some(user_info), hosts),
            None => (None, authority),
        };
        if cluster && !matches!(database, "" | "0") {
            return Err("a cluster has only database 0");
        }
        let addresses = match cluster {
            true => hosts.split(',').map(address).collect::<Result<_, _>>()?,
            false => vec![address(hosts)?],
        };
        Ok(Self {
            addresses,
            cluster,
            tls,
            login: login(user_info, database)?,
        })
    }

    /// Parses `redis+unix:///run/redis.sock` or `redis+unix:///run/redis.sock?db=1`.
    fn unix(rest: &str) -> Result<Self, &'static str> {
        if !cfg!(unix) {
            return Err("Unix sockets are not supported on this platform");
        }
        let (path, database) = match rest.split_once('?') {
            Some((path, query)) => {
                let database = query.strip_prefix("db=");
                (path, database.ok_or("its query must be db=N")?)
            }
            None => (rest, ""),
        };
        let path = percent_decode(path)?;
        if !path.starts_with('/') {
            return Err("the path of the socket must be absolute");
        }
        Ok(Self {
            addresses: vec![Address::Unix(path.into())],
            cluster: false,
            tls: false,
            login: login(None, database)?,
        })
    }
}

fn login(user_info: Option<&str>, database: &str) -> Result<RedisConnectionInfo, &'static str> {
    let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
    if !database.is_empty() {
        let number: u32 = database
            .parse()
            .map_err(|_| "its database is not a number")?;
        login = login.set_db(number.into());
    }
    let Some(user_info) = user_info else {
        return Ok(login);
    };
    let (user, password) = user_info
        .split_once(':')
        .ok_or("a user name requires a password")?;
    let (user, password) = (percent_decode(user)?, percent_decode(password)?);
    if password.is_empty() {
        return Err("its password is empty");
    }
    if !user.is_empty() {
        login = login.set_username(user);
    }
    Ok(login.set_password(password))
}

/// Parses `host`, `host:6380` or `[::1]:6380`.
fn address(text: &str) -> Result<Address, &'static str> {
    const MALFORMED: &str = "its host is malformed";
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(MALFORMED)?;
            let _: Ipv6Addr = host.parse().map_err(|_| MALFORMED)?;
            let port = match port {
                "" => None,
                _ => Some(port.strip_prefix(':').ok_or(MALFORMED)?),
            };
            (host, port)
        }
        None => {
            let (host, port) = match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            };
            let plain = |one: u8| one.is_ascii_alphanumeric() || b"-._".contains(&one);
            if host.is_empty() || !host.bytes().all(plain) {
                return Err(MALFORMED);
            }
            (host, port)
        }
    };
    let port = match port {
        Some(port) => port.parse().map_err(|_| "its port is not a number")?,
        None => DEFAULT_PORT,
    };
    if port == 0 {
        return Err("its port must not be 0");
    }
    Ok(Address::Tcp(host.to_owned(), port))
}

/// Decodes percent-encoding (RFC 3986 §2.1). Malformed escapes are errors.
fn percent_decode(text: &str) -> Result<String, &'static str> {
    const MALFORMED: &str = "its percent-encoding is malformed";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(one) = rest.next() {
        if one != b'%' {
            bytes.push(one);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(MALFORMED);
        };
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| MALFORMED)?);
    }
    String::from_utf8(bytes).map_err(|_| MALFORMED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp(host.to_owned(), port)
    }

    #[test]
    fn urls_have_servers_credentials_and_a_database() {
        let cases = [
            ("redis://db", vec![tcp("db", 6379)], false, false, 0),
            (
                "valkeys://10.0.0.1:7/3",
                vec![tcp("10.0.0.1", 7)],
                false,
                true,
                3,
            ),
            (
                "rediss://[::1]:6380",
                vec![tcp("::1", 6380)],
                false,
                true,
                0,
            ),
            (
                "redis-cluster://a:1,b,[::1]/0",
                vec![tcp("a", 1), tcp("b", 6379), tcp("::1", 6379)],
                true,
                false,
                0,
            ),
            ("rediss-cluster://a", vec![tcp("a", 6379)], true, true, 0),
        ];
        for (url, addresses, cluster, tls, database) in cases {
            let parsed = RedisUrl::parse(url).unwrap();
            assert_eq!(parsed.addresses, addresses, "{url}");
            assert_eq!((parsed.cluster, parsed.tls), (cluster, tls), "{url}");
            assert_eq!(parsed.login.db(), database, "{url}");
            assert_eq!(parsed.login.password(), None, "{url}");
        }
        let parsed = RedisUrl::parse("redis://app:p%40ss:%2F@db/1").unwrap();
        assert_eq!(parsed.login.username(), Some("app"));
        assert_eq!(parsed.login.password(), Some("p@ss:/"));
        let parsed = RedisUrl::parse("redis-cluster://:secret@a,b").unwrap();
        assert_eq!(parsed.login.username(), None);
        assert_eq!(parsed.login.password(), Some("secret"));
        if cfg!(unix) {
            let parsed = RedisUrl::parse("redis+unix:///run/a%20b.sock?db=2").unwrap();
            assert_eq!(parsed.addresses, [Address::Unix("/run/a b.sock".into())]);
            assert_eq!(parsed.login.db(), 2);
        }
    }

    #[test]
    fn ambiguous_and_malformed_urls_are_rejected() {
        for url in [
            "",
            "db:6379",
            "http://db",
            "redis://",
            "redis://:6379",
            "redis://db:0",
            "redis://db:65536",
            "redis://db:x",
            "redis://a,b",
            "redis://db/one",
            "redis://db/-1",
            "redis://db/1/2",
            "redis://user@db",
            "redis://user:@db",
            "redis://:%zz@db",
            "redis://:%ff@db",
            "redis://d%62",
            "redis://[::1",
            "redis://[db]",
            "redis://[::1]6379",
            "redis://db?db=1",
            "rediss://db/#insecure",
            "redis-cluster://a,,b",
            "redis-cluster://a/1",
            "unix-cluster:///run/redis.sock",
            "unix://run/redis.sock",
            "unix:///run/redis.sock?protocol=resp3",
        ] {
            assert!(RedisUrl::parse(url).is_err(), "{url}");
        }
    }
}
