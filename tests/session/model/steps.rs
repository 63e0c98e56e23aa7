//! The steps of a run, drawn from a seed. Each is meaningful in any position, so that a failed run can be
//! repeated with fewer of them.

/// One step. Numbers are indexes modulo the number of existing items.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A user signs in and returns to the second node, possibly in the browser of a session.
    SignIn {
        nodes: [usize; 2],
        user: usize,
        over: Option<usize>,
    },
    Ask {
        session: usize,
        node: usize,
        cookie: Cookie,
        action: Action,
        slow: bool,
        late: bool,
    },
    SignOut {
        session: usize,
        node: usize,
        cookie: Cookie,
    },
    /// The authorization server ends a session, or all of its user.
    SignOutElsewhere {
        session: usize,
        node: usize,
        everywhere: bool,
    },
    /// A response in transit reaches its browser.
    Deliver(usize),
    /// A delayed operation continues.
    Open(usize),
    Wait(u64),
    /// The fate of the next token request.
    Token(Fate),
    /// The fate of the next store operation of a node.
    Store(usize, Fate),
    Crash(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    Newest,
    /// Cookies that the browser had before.
    Older(usize),
}

/// What a handler does with its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Page,
    Token,
    NewToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Passes,
    /// Delayed, then executed.
    HeldBefore,
    /// Executed, then the response is delayed.
    HeldAfter,
    LostBefore,
    LostAfter,
    /// Rejected with an error. A store loses the operation instead.
    Unavailable,
}

/// A small pseudo-random generator (splitmix64) with the same numbers on all platforms.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap() % end
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// Returns the steps of a run. The rate of faults is drawn first: some runs have few.
pub fn steps(dice: &mut Dice) -> Vec<Step> {
    let count = 8 + dice.below(28);
    let trouble = dice.of(&[0, 1, 1, 3]);
    let mut steps = vec![sign_in(dice)];
    while steps.len() < count {
        let step = match dice.below(20 + 3 * trouble) {
            _ if dice.one_in(16) => {
                steps.extend(scene(dice));
                continue;
            }
            0 => sign_in(dice),
            1 => Step::SignOut {
                session: dice.below(4),
                node: dice.below(2),
                cookie: cookie(dice),
            },
            2 => Step::SignOutElsewhere {
                session: dice.below(4),
                node: dice.below(2),
                everywhere: dice.one_in(2),
            },
            3 | 4 => Step::Deliver(dice.below(4)),
            5 | 6 => Step::Open(dice.below(4)),
            7..10 => Step::Wait(dice.of(&WAITS)),
            10..20 => ask(dice),
            _ => trouble_of(dice),
        };
        steps.push(step);
    }
    steps
}

/// A slow request with a session and a concurrent change to it, a combination that single random steps seldom
/// reach.
fn scene(dice: &mut Dice) -> Vec<Step> {
    let (session, node) = (dice.below(4), dice.below(2));
    let held = dice.of(&[Fate::HeldBefore, Fate::HeldAfter]);
    let ask = |node, action, late| Step::Ask {
        session,
        node,
        cookie: Cookie::Newest,
        action,
        slow: false,
        late,
    };
    let mut scene = vec![Step::Wait(dice.of(&[301, 400, 2400]))];
    if dice.one_in(2) {
        scene.extend([Step::Token(held), ask(node, Action::Token, dice.one_in(2))]);
    } else {
        let passing = dice.below(5);
        scene.extend((0..passing).map(|_| Step::Store(node, Fate::Passes)));
        let action = dice.of(&[Action::Page, Action::Token]);
        scene.extend([Step::Store(node, held), ask(node, action, dice.one_in(2))]);
    }
    if dice.one_in(3) {
        scene.push(ask(1 - node, Action::Token, false));
    }
    let other = dice.below(2);
    scene.push(match dice.below(8) {
        0..3 => Step::SignOut {
            session,
            node: other,
            cookie: cookie(dice),
        },
        3..5 => Step::SignOutElsewhere {
            session,
            node: other,
            everywhere: dice.one_in(2),
        },
        5 => Step::SignIn {
            nodes: [other, dice.below(2)],
            user: dice.below(2),
            over: Some(session),
        },
        6 => Step::Crash(node),
        _ => Step::Wait(dice.of(&[1, 4, 12])),
    });
    scene.extend([
        Step::Open(0),
        ask(other, Action::Page, false),
        Step::Deliver(0),
    ]);
    scene.push(ask(node, Action::Token, false));
    scene
}

fn sign_in(dice: &mut Dice) -> Step {
    Step::SignIn {
        nodes: [dice.below(2), dice.below(2)],
        user: dice.below(2),
        over: dice.one_in(5).then(|| dice.below(4)),
    }
}

fn ask(dice: &mut Dice) -> Step {
    Step::Ask {
        session: dice.below(4),
        node: dice.below(2),
        cookie: cookie(dice),
        action: dice.of(&[Action::Page, Action::Token, Action::Token, Action::NewToken]),
        slow: dice.one_in(5),
        late: dice.one_in(4),
    }
}

fn cookie(dice: &mut Dice) -> Cookie {
    match dice.one_in(4) {
        true => Cookie::Older(dice.below(4)),
        false => Cookie::Newest,
    }
}

fn trouble_of(dice: &mut Dice) -> Step {
    let fate = dice.of(&[
        Fate::HeldBefore,
        Fate::HeldAfter,
        Fate::LostBefore,
        Fate::LostAfter,
        Fate::Unavailable,
    ]);
    match dice.below(8) {
        0..3 => Step::Token(fate),
        3..6 => Step::Store(dice.below(2), fate),
        // Not the next operation but one of the following.
        6 => Step::Store(dice.below(2), Fate::Passes),
        _ => Step::Crash(dice.below(2)),
    }
}

/// In seconds: within a request, within a lease, until a token is due, until it has expired, until a session
/// is nearly idle, until it is.
const WAITS: [u64; 10] = [1, 1, 4, 12, 70, 270, 301, 301, 2400, 3700];
