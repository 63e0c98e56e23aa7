//! Where Redis is, as a URL says it.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use redis::RedisConnectionInfo;

const DEFAULT_PORT: u16 = 6379;

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Address {
    Tcp(String, u16),
    #[cfg_attr(not(unix), allow(dead_code))]
    Unix(PathBuf),
}

/// What a URL says.
#[derive(Clone)]
pub(super) struct Target {
    /// One, or some nodes of a cluster.
    pub(super) addresses: Vec<Address>,
    pub(super) cluster: bool,
    pub(super) tls: bool,
    pub(super) login: RedisConnectionInfo,
}

impl Target {
    /// The error says why the URL is refused, without a word of it: there may be a password in it.
    pub(super) fn parse(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once("://").ok_or("it has no scheme")?;
        if rest.contains('#') {
            // Where others read `#insecure`: certificates are always verified.
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
            _ => return Err("its scheme is none of Redis or Valkey"),
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
            return Err("a cluster has database 0 alone");
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

    /// `redis+unix:///run/redis.sock`, `redis+unix:///run/redis.sock?db=1`.
    fn unix(rest: &str) -> Result<Self, &'static str> {
        if !cfg!(unix) {
            return Err("there are no Unix sockets here");
        }
        let (path, database) = match rest.split_once('?') {
            Some((path, query)) => {
                let database = query.strip_prefix("db=");
                (path, database.ok_or("its query must be db=N")?)
            }
            None => (rest, ""),
        };
        let path = decoded(path)?;
        if !path.starts_with('/') {
            return Err("the path of its socket must be absolute");
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
        let number: u32 = database.parse().map_err(|_| "its database is no number")?;
        login = login.set_db(number.into());
    }
    let Some(user_info) = user_info else {
        return Ok(login);
    };
    let (user, password) = user_info
        .split_once(':')
        .ok_or("a user name needs a password")?;
    let (user, password) = (decoded(user)?, decoded(password)?);
    if password.is_empty() {
        return Err("its password is empty");
    }
    if !user.is_empty() {
        login = login.set_username(user);
    }
    Ok(login.set_password(password))
}

/// `host`, `host:6380`, `[::1]:6380`.
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
        Some(port) => port.parse().map_err(|_| "its port is no number")?,
        None => DEFAULT_PORT,
    };
    if port == 0 {
        return Err("its port is 0");
    }
    Ok(Address::Tcp(host.to_owned(), port))
}

/// Undoes percent encoding (RFC 3986 §2.1).
fn decoded(text: &str) -> Result<String, &'static str> {
    const MALFORMED: &str = "its percent encoding is malformed";
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp(host.to_owned(), port)
    }

    #[test]
    fn a_url_names_servers_a_login_and_a_database() {
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
            let target = Target::parse(url).unwrap();
            assert_eq!(target.addresses, addresses, "{url}");
            assert_eq!((target.cluster, target.tls), (cluster, tls), "{url}");
            assert_eq!(target.login.db(), database, "{url}");
            assert_eq!(target.login.password(), None, "{url}");
        }
        let target = Target::parse("redis://app:p%40ss:%2F@db/1").unwrap();
        assert_eq!(target.login.username(), Some("app"));
        assert_eq!(target.login.password(), Some("p@ss:/"));
        let target = Target::parse("redis-cluster://:secret@a,b").unwrap();
        assert_eq!(target.login.username(), None);
        assert_eq!(target.login.password(), Some("secret"));
        if cfg!(unix) {
            let target = Target::parse("redis+unix:///run/a%20b.sock?db=2").unwrap();
            assert_eq!(target.addresses, [Address::Unix("/run/a b.sock".into())]);
            assert_eq!(target.login.db(), 2);
        }
    }

    #[test]
    fn a_url_with_anything_unclear_is_refused() {
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
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }
}
