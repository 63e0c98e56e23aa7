//! A run: nodes, browsers, an authorization server and a clock, and the invariants of all of them.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use serde_json::Value;
use tower_oauth::clock::Clock as _;
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::ManualClock;

use super::gates::Gates;
use super::known::{KnownSession, set_cookies, signs_in};
use super::node::{ACTION, Node, Reply, SLOW, Shared, get, post};
use super::provider::{ISSUER, Provider, Rules, TOKEN_LIFETIME, read, sid};
use super::steps::{Action, Cookie, Step};
use super::unreliable::{ContractViolation, Troubles};
use crate::support::modes::Mode;

/// The kind of a run.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub mode: Mode,
    pub rules: Rules,
    /// The violation of the contract by its store.
    pub contract_violation: Option<ContractViolation>,
}

pub struct World {
    setting: Setting,
    shared: Shared,
    nodes: Vec<Node>,
    sessions: Vec<KnownSession>,
    waiting: Vec<Waiting>,
    /// Responses in transit to a browser: the session, what they set, and when that was created.
    undelivered: Vec<(usize, HeaderMap, Duration)>,
    violation: Option<String>,
    pub trace: Option<String>,
}

/// A request without a response yet.
struct Waiting {
    what: RequestKind,
    reply: Reply,
    troubles: Arc<Troubles>,
    since: Duration,
}

enum RequestKind {
    Callback {
        grant: usize,
        user: usize,
        over: Option<usize>,
        /// The authorization server ended the session meanwhile.
        doubtful: bool,
    },
    Page {
        session: usize,
        late: bool,
        wants_token: bool,
        must_be_dead: bool,
        must_live: bool,
        /// The newest access token that was known when the request started.
        newest_token: u64,
        /// There are no more faults: the handler must receive a token.
        must_have_token: bool,
    },
    SignOut(usize),
    SignOutElsewhere(Vec<usize>),
}

impl World {
    pub fn new(setting: Setting, traced: bool) -> Self {
        let (clock, gates) = (ManualClock::new(1_800_000_000), Gates::default());
        let provider = Provider::new(setting.rules, &gates, &clock);
        let entries = MemoryStore::new().with_clock(clock.clone());
        let shared = Shared {
            mode: setting.mode,
            clock,
            gates,
            provider,
            entries,
            contract_violation: setting.contract_violation,
        };
        // With cookies alone, replicas cannot share the required state.
        let nodes = if setting.mode == Mode::Cookie { 1 } else { 2 };
        Self {
            setting,
            nodes: (0..nodes).map(|_| Node::new(&shared)).collect(),
            shared,
            sessions: Vec::new(),
            waiting: Vec::new(),
            undelivered: Vec::new(),
            violation: None,
            trace: traced.then(String::new),
        }
    }

    /// Runs all steps, ends all faults, and checks the final state.
    pub fn run(mut self, steps: &[Step]) -> Result<(), (String, Option<String>)> {
        for step in steps {
            self.send_logout_token(|| format!("{step:?}"));
            self.take(*step);
            self.settle();
            if self.violation.is_some() {
                break;
            }
        }
        if self.violation.is_none() {
            self.recover();
        }
        match self.violation {
            Some(violation) => Err((violation, self.trace)),
            None => Ok(()),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::SignIn { nodes, user, over } => self.sign_in(nodes, user, over),
            Step::Ask {
                session,
                node,
                cookie,
                action,
                slow,
                late,
            } => {
                if let Some(session) = self.one_of_sessions(session) {
                    self.ask(session, node, cookie, action, slow, late, false);
                }
            }
            Step::SignOut {
                session,
                node,
                cookie,
            } => {
                if let Some(session) = self.one_of_sessions(session) {
                    self.sign_out(session, node, cookie);
                }
            }
            Step::SignOutElsewhere {
                session,
                node,
                everywhere,
            } => {
                if let Some(session) = self.one_of_sessions(session) {
                    self.sign_out_elsewhere(session, node, everywhere);
                }
            }
            Step::Deliver(number) => {
                if !self.undelivered.is_empty() {
                    let number = number % self.undelivered.len();
                    self.deliver(number);
                }
            }
            Step::Open(number) => {
                self.shared.gates.open(number);
            }
            Step::Wait(seconds) => self.wait(seconds),
            Step::Token(fate) => self.shared.provider.meet(fate),
            Step::Store(node, fate) => {
                let troubles = &self.node(node).troubles;
                troubles.fates.lock().unwrap().push_back(fate);
            }
            Step::Crash(node) => self.crash(node),
        }
    }

    fn sign_in(&mut self, nodes: [usize; 2], user: usize, over: Option<usize>) {
        let over = over.and_then(|over| self.one_of_sessions(over));
        let cookies = over.map_or_else(String::new, |over| {
            self.sessions[over].cookies(Cookie::Newest).header()
        });
        let started = self.node(nodes[0]).ask(get("/auth/login", &page(&cookies)));
        self.settle();
        let Some(started) = started.take().filter(|answer| answer.status() == 303) else {
            return;
        };
        let location = started.headers()["location"].to_str().unwrap();
        let url = url::Url::parse(location).unwrap();
        let value = |name: &str| {
            let (_, value) = url.query_pairs().find(|(other, _)| other == name).unwrap();
            value.into_owned()
        };
        let (grant, code) = self.shared.provider.approve(user, &value("nonce"));
        let state = value("state");
        let path = format!("/auth/callback?code={code}&state={state}&iss={ISSUER}");
        let mut jar: Vec<String> = set_cookies(started.headers())
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        jar.extend(over.map(|_| cookies));
        if let Some(over) = over {
            self.sessions[over].doubt();
        }
        let request = get(&path, &page(&jar.join("; ")));
        let what = RequestKind::Callback {
            grant,
            user,
            over,
            doubtful: false,
        };
        self.send(nodes[1], request, what);
    }

    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)]
    fn ask(
        &mut self,
        session: usize,
        node: usize,
        cookie: Cookie,
        action: Action,
        slow: bool,
        late: bool,
        healed: bool,
    ) {
        let now = self.now();
        let in_store = self.setting.mode == Mode::Store;
        let known = &mut self.sessions[session];
        let cookies = known.cookies(cookie);
        let header = cookies.header();
        let must_be_dead = known.must_be_dead(now);
        let must_live = known.must_live(cookies, in_store, now)
            && !self.shared.provider.is_revoked(known.grant);
        if must_be_dead {
            // An ended session stays ended.
            known.end();
        } else {
            known.touch(now);
        }
        let what = RequestKind::Page {
            session,
            late,
            wants_token: action != Action::Page,
            must_be_dead,
            must_live,
            newest_token: known.newest_token,
            must_have_token: healed && must_live,
        };
        let mut headers = page(&header);
        match action {
            Action::Page => {}
            Action::Token => headers.push((ACTION, "token")),
            Action::NewToken => headers.push((ACTION, "new")),
        }
        if slow {
            headers.push((SLOW, "1"));
        }
        self.send(node, get("/", &headers), what);
    }

    fn sign_out(&mut self, session: usize, node: usize, cookie: Cookie) {
        let header = self.sessions[session].cookies(cookie).header();
        self.sessions[session].doubt();
        let headers = [
            ("cookie", header.as_str()),
            ("sec-fetch-site", "same-origin"),
        ];
        let request = post("/auth/logout", &headers, "");
        self.send(node, request, RequestKind::SignOut(session));
    }

    fn sign_out_elsewhere(&mut self, session: usize, node: usize, everywhere: bool) {
        // Without a shared store, other nodes do not learn of it.
        if self.setting.mode == Mode::Cookie {
            return;
        }
        let (grant, user) = (self.sessions[session].grant, self.sessions[session].user);
        let mut to_json = Vec::new();
        for (number, known) in self.sessions.iter_mut().enumerate() {
            if known.grant == grant || everywhere && known.user == user {
                known.doubt();
                to_json.push(number);
            }
        }
        for waiting in &mut self.waiting {
            if let RequestKind::Callback {
                user: other,
                doubtful,
                ..
            } = &mut waiting.what
                && *other == user
            {
                *doubtful = true;
            }
        }
        let token = self.shared.provider.logout_token(grant, everywhere);
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let body = format!("logout_token={token}");
        let request = post("/auth/backchannel-logout", &form, &body);
        self.send(node, request, RequestKind::SignOutElsewhere(to_json));
        // A login within the second of a logout may be covered by it.
        self.settle();
        self.wait(1);
    }

    fn crash(&mut self, node: usize) {
        // With cookies alone, a crash loses the state of the process.
        if self.setting.mode == Mode::Cookie {
            return;
        }
        let node = node % self.nodes.len();
        let dead = std::mem::replace(&mut self.nodes[node], Node::new(&self.shared));
        let troubles = Arc::clone(&dead.troubles);
        self.waiting
            .retain(|waiting| !Arc::ptr_eq(&waiting.troubles, &troubles));
        dead.kill();
    }

    fn send(
        &mut self,
        node: usize,
        request: http::Request<http_body_util::Full<Bytes>>,
        what: RequestKind,
    ) {
        let node = self.node(node);
        let waiting = Waiting {
            what,
            reply: node.ask(request),
            troubles: Arc::clone(&node.troubles),
            since: self.now(),
        };
        self.waiting.push(waiting);
    }

    fn deliver(&mut self, number: usize) {
        let (session, headers, made) = self.undelivered.remove(number);
        self.sessions[session].deliver(&headers, made);
    }

    /// Advances time, in small steps while an operation is in progress, which would notice a leap.
    fn wait(&mut self, seconds: u64) {
        let careful = if self.is_quiet() { 0 } else { seconds.min(30) };
        for _ in 0..careful {
            self.shared.clock.advance(Duration::from_secs(1));
            self.settle();
            if self.violation.is_some() {
                return;
            }
        }
        self.shared
            .clock
            .advance(Duration::from_secs(seconds - careful));
        self.settle();
    }

    fn is_quiet(&self) -> bool {
        let recently = self.now().saturating_sub(Duration::from_secs(15));
        let troubled = |node: &Node| node.troubles.since(recently);
        self.waiting.is_empty()
            && !self.shared.provider.is_asked()
            && !self.nodes.iter().any(troubled)
    }

    /// Runs until no task can continue.
    fn settle(&mut self) {
        for _ in 0..2 {
            for node in &self.nodes {
                node.run();
            }
        }
        let now = self.now();
        let mut index = 0;
        while index < self.waiting.len() {
            match self.waiting[index].reply.take() {
                Some(answer) => {
                    let waiting = self.waiting.remove(index);
                    self.judge(waiting, &answer, now);
                }
                None => index += 1,
            }
        }
        if let Some(violation) = self.shared.provider.violation() {
            self.violate(violation);
        }
    }

    fn judge(&mut self, waiting: Waiting, answer: &Response<Bytes>, now: Duration) {
        let Waiting {
            what,
            troubles,
            since,
            ..
        } = waiting;
        let troubled = troubles.since(since);
        let status = answer.status().as_u16();
        match what {
            RequestKind::Callback {
                grant,
                user,
                over,
                doubtful,
            } => {
                self.send_logout_token(|| format!("  {} signs in: {status}", sid(grant)));
                if status == 303 && signs_in(answer) {
                    let mut known = KnownSession::new(grant, user, answer.headers(), now);
                    if doubtful {
                        known.doubt();
                    }
                    self.sessions.push(known);
                    if let Some(over) = over {
                        self.sessions[over].end();
                    }
                } else if signs_in(answer) {
                    self.violate(format!("{} is signed in by a {status}", sid(grant)));
                }
            }
            RequestKind::SignOut(session) => {
                self.send_logout_token(|| format!("  session {session} signed out: {status}"));
                if status == 303 {
                    self.sessions[session].end();
                } else if !troubled || status != 503 {
                    self.violate(format!("signing out is answered {status}"));
                }
            }
            RequestKind::SignOutElsewhere(sessions) => {
                self.send_logout_token(|| {
                    format!("  sessions {sessions:?} signed out elsewhere: {status}")
                });
                if status == 200 {
                    for session in sessions {
                        self.sessions[session].end();
                    }
                } else if !troubled {
                    self.violate(format!("a sign-out elsewhere is answered {status}"));
                }
            }
            page @ RequestKind::Page { .. } => self.check_page(&page, answer, troubled, since),
        }
    }

    fn check_page(
        &mut self,
        page: &RequestKind,
        answer: &Response<Bytes>,
        troubled: bool,
        since: Duration,
    ) {
        let now = self.now();
        let &RequestKind::Page {
            session,
            late,
            wants_token,
            must_be_dead,
            must_live,
            newest_token,
            must_have_token,
        } = page
        else {
            return;
        };
        let status = answer.status().as_u16();
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        let cookies = set_cookies(answer.headers()).len();
        self.send_logout_token(|| {
            format!("  session {session}: {status} {text} ({cookies} cookies set)")
        });
        match status {
            200 => {
                if must_be_dead {
                    self.violate(format!("session {session} has ended and answers"));
                }
                let seen: Value = serde_json::from_str(&text).unwrap();
                let known = &mut self.sessions[session];
                if seen["sid"] != sid(known.grant).as_str() {
                    self.violate(format!("session {session} is another's"));
                    return;
                }
                if !known.is_dead() {
                    known.touch(now);
                    if !troubled {
                        known.note(since);
                    }
                }
                if wants_token {
                    self.check_token(session, &seen["token"], newest_token, must_have_token);
                }
            }
            204 => {
                let revoked = self
                    .shared
                    .provider
                    .is_revoked(self.sessions[session].grant);
                let known = &mut self.sessions[session];
                // Operations against the session during the request count.
                let in_store = self.setting.mode == Mode::Store;
                let is_live = known.must_live(known.cookies(Cookie::Newest), in_store, now);
                if must_live && is_live && !revoked && !troubled {
                    self.violate(format!("session {session} is live and was rejected"));
                } else if !must_live && !troubled && revoked {
                    known.end();
                }
            }
            503 if troubled && self.setting.mode != Mode::Cookie => {}
            _ => self.violate(format!("a page is answered {status}")),
        }
        let headers = answer.headers().clone();
        match late {
            true => self.undelivered.push((session, headers, since)),
            false => self.sessions[session].deliver(&headers, since),
        }
    }

    /// A token must be that of its session, valid, and not older than one received before (invariant 4).
    fn check_token(&mut self, session: usize, token: &Value, newest: u64, must_have: bool) {
        let Some(text) = token["is"].as_str() else {
            let revoked = self
                .shared
                .provider
                .is_revoked(self.sessions[session].grant);
            if must_have && !revoked {
                self.violate(format!("session {session} has no token: {token}"));
            }
            return;
        };
        let (grant, number) = read(text);
        let known = &mut self.sessions[session];
        if grant != known.grant {
            self.violate(format!("session {session} has the token of s{grant}"));
        } else if number < newest {
            self.violate(format!(
                "session {session} has token {number}, and {newest} was given out before"
            ));
        } else {
            known.newest_token = known.newest_token.max(number);
            // Counted from the response, which may be delayed.
            let lifetime = Duration::from_secs(TOKEN_LIFETIME + 6);
            if self.shared.provider.age(grant, number) > lifetime {
                self.violate(format!(
                    "session {session} has token {number}, which has expired"
                ));
            }
        }
    }

    /// Without further faults: all operations complete, and live sessions work (invariant 5).
    fn recover(&mut self) {
        self.send_logout_token(|| "-- all is well from here".to_owned());
        self.shared.provider.forget_fates();
        for node in &self.nodes {
            node.troubles.fates.lock().unwrap().clear();
        }
        for _ in 0..40 {
            while self.shared.gates.open(0) {}
            self.wait(1);
            if self.waiting.is_empty() {
                break;
            }
        }
        if !self.waiting.is_empty() {
            self.violate("a request hangs".to_owned());
        }
        while !self.undelivered.is_empty() {
            self.deliver(0);
        }
        // Longer than any delay between two attempts.
        self.wait(35);
        self.wait(60);
        for session in 0..self.sessions.len() {
            for node in 0..self.nodes.len() {
                for cookie in [Cookie::Newest, Cookie::Older(1)] {
                    self.ask(session, node, cookie, Action::Token, false, false, true);
                    self.settle();
                }
            }
        }
        for _ in 0..20 {
            if self.waiting.is_empty() || self.violation.is_some() {
                break;
            }
            self.wait(1);
        }
        if !self.waiting.is_empty() {
            self.violate("a request hangs, and nothing is wrong".to_owned());
        }
    }

    fn node(&self, number: usize) -> &Node {
        &self.nodes[number % self.nodes.len()]
    }

    fn one_of_sessions(&self, number: usize) -> Option<usize> {
        (!self.sessions.is_empty()).then(|| number % self.sessions.len())
    }

    fn now(&self) -> Duration {
        self.shared.clock.monotonic()
    }

    fn violate(&mut self, text: String) {
        self.send_logout_token(|| format!("  VIOLATION: {text}"));
        self.violation.get_or_insert(text);
    }

    fn send_logout_token(&mut self, text: impl FnOnce() -> String) {
        let now = self.now().as_secs();
        if let Some(trace) = &mut self.trace {
            writeln!(trace, "{now:6} {}", text()).unwrap();
        }
    }
}

/// Returns the fields that a browser sends for a navigation.
fn page(cookies: &str) -> Vec<(&'static str, &str)> {
    let mut headers = vec![
        ("accept", "text/html"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-site", "none"),
    ];
    if !cookies.is_empty() {
        headers.push(("cookie", cookies));
    }
    headers
}
