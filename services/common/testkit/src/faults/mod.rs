//! Faults on the way between a caller and a service.

mod body;
mod channel;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub use channel::FaultyChannel;

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpcFault {
    /// It does not arrive: UNAVAILABLE.
    Down,
    /// It arrives after this time.
    Slow(Duration),
    /// It is served, and the answer arrives after this time.
    SlowAnswer(Duration),
    /// It is served to its end and the answer is lost: UNAVAILABLE. Of a bidirectional stream, whose caller needs the
    /// answers to go on, only the end is lost.
    AnswerLost,
    /// What the caller sends breaks off after so many messages.
    RequestReset(usize),
    /// What the server sends breaks off after so many messages.
    ResponseReset(usize),
    /// What the server sends stands still after so many messages, for ever.
    ResponseSilent(usize),
}

/// Faults that strike the calls of every channel that it is a layer of.
///
/// Methods are named by any part of `/package.Service/Method`. A cloned handle controls the same faults.
#[derive(Clone, Debug, Default)]
pub struct RpcFaults {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    mix: Option<Mix>,
    calls: BTreeMap<String, Calls>,
}

#[derive(Debug)]
struct Rule {
    method: String,
    fault: RpcFault,
    /// None strikes for ever.
    times: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Mix {
    seed: u64,
    percent: u64,
}

/// What became of the calls of a method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Attempts that the caller's side made.
    pub made: u64,
    /// Attempts that the server got.
    pub arrived: u64,
    /// Attempts that a fault struck.
    pub struck: u64,
}

impl RpcFaults {
    /// Strikes every call of the method until [`RpcFaults::heal`].
    pub fn always(&self, method: &str, fault: RpcFault) {
        self.add(method, fault, None);
    }

    /// Strikes the next `times` calls of the method.
    pub fn next(&self, method: &str, times: usize, fault: RpcFault) {
        self.add(method, fault, Some(times));
    }

    fn add(&self, method: &str, fault: RpcFault, times: Option<usize>) {
        let method = method.to_owned();
        self.state().rules.push(Rule { method, fault, times });
    }

    /// Strikes `percent` of all calls in all ways. What strikes which call depends on the seed, the method and how often
    /// it was called, so that a run that makes the same calls meets the same faults.
    pub fn mix(&self, seed: u64, percent: u64) {
        self.state().mix = Some(Mix { seed, percent });
    }

    /// Ends all faults. What was counted stays.
    pub fn heal(&self) {
        let mut state = self.state();
        state.rules.clear();
        state.mix = None;
    }

    /// Tells what became of the calls of all methods whose path contains `method`.
    pub fn calls(&self, method: &str) -> Calls {
        let state = self.state();
        let matching = state.calls.iter().filter(|(path, _)| path.contains(method));
        matching.fold(Calls::default(), |sum, (_, calls)| Calls {
            made: sum.made + calls.made,
            arrived: sum.arrived + calls.arrived,
            struck: sum.struck + calls.struck,
        })
    }

    /// Counts a call and chooses its fault.
    fn strike(&self, path: &str) -> Option<RpcFault> {
        let mut state = self.state();
        let number = state.calls.get(path).map_or(0, |calls| calls.made);
        let fault = state
            .by_rule(path)
            .or_else(|| state.mix.and_then(|mix| mix.fault(path, number)));
        let calls = state.calls.entry(path.to_owned()).or_default();
        calls.made += 1;
        calls.struck += u64::from(fault.is_some());
        fault
    }

    fn arrived(&self, path: &str) {
        self.state().calls.entry(path.to_owned()).or_default().arrived += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn by_rule(&mut self, path: &str) -> Option<RpcFault> {
        let rule = self
            .rules
            .iter_mut()
            .find(|rule| path.contains(&rule.method) && rule.times != Some(0))?;
        rule.times = rule.times.map(|times| times - 1);
        Some(rule.fault)
    }
}

impl Mix {
    fn fault(self, path: &str, number: u64) -> Option<RpcFault> {
        const WAIT: Duration = Duration::from_millis(5);
        let mut hasher = DefaultHasher::new();
        (self.seed, path, number).hash(&mut hasher);
        let chance = hasher.finish();
        let (kind, messages) = (chance / 100 % 6, (chance / 600 % 3) as usize);
        if chance % 100 >= self.percent {
            return None;
        }
        Some(match kind {
            0 => RpcFault::Down,
            1 => RpcFault::Slow(WAIT),
            2 => RpcFault::SlowAnswer(WAIT),
            3 => RpcFault::AnswerLost,
            4 => RpcFault::RequestReset(messages),
            _ => RpcFault::ResponseReset(messages),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_strikes_as_often_as_it_says() {
        let faults = RpcFaults::default();
        faults.next("Service/Get", 2, RpcFault::Down);
        faults.always("Service/Get", RpcFault::AnswerLost);
        let struck = || faults.strike("/x.Service/Get");
        assert_eq!(
            [struck(), struck(), struck()],
            [
                Some(RpcFault::Down),
                Some(RpcFault::Down),
                Some(RpcFault::AnswerLost)
            ]
        );
        assert_eq!(faults.strike("/x.Service/Put"), None);
        faults.heal();
        assert_eq!(faults.strike("/x.Service/Get"), None);
        let (made, struck) = (4, 3);
        assert_eq!(
            faults.calls("Get"),
            Calls {
                made,
                struck,
                arrived: 0
            }
        );
    }

    #[test]
    fn a_mix_is_the_same_for_the_same_seed_and_keeps_its_share() {
        let run = |seed| {
            let faults = RpcFaults::default();
            faults.mix(seed, 20);
            let struck = std::iter::repeat_with(|| faults.strike("/x.Service/Get"));
            struck.take(1000).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        let share = run(1).iter().flatten().count();
        assert!((150..250).contains(&share), "{share}");
    }
}
