//! What goes wrong on purpose.

use std::time::Duration;

/// What happens to a request instead of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this code.
    Code(u16),
    /// It is not answered while the fault lasts, and carried out when it is lifted.
    Hold,
    /// It is carried out after this long.
    Delay(Duration),
    /// It is carried out and never answered.
    LoseAnswer,
}

/// The faults that are in force.
#[derive(Default)]
pub struct Faults {
    all: Vec<Injected>,
    next: u64,
}

struct Injected {
    id: u64,
    pattern: String,
    fault: Fault,
    left: Option<usize>,
}

// === impl Faults ===

impl Faults {
    /// Injects `fault` into requests whose line `pattern` matches: a verb and a piece of the path, such as
    /// `patch configmaps`; into so many of them, or into all.
    pub fn add(&mut self, pattern: &str, fault: Fault, times: Option<usize>) -> u64 {
        self.next += 1;
        self.all.push(Injected { id: self.next, pattern: pattern.to_owned(), fault, left: times });
        self.next
    }

    /// Ends a fault.
    pub fn lift(&mut self, id: u64) {
        self.all.retain(|injected| injected.id != id);
    }

    /// Ends all of them.
    pub fn lift_all(&mut self) {
        self.all.clear();
    }

    /// Whether a fault is still in force.
    pub fn lasts(&self, id: u64) -> bool {
        self.all.iter().any(|injected| injected.id == id)
    }

    /// What happens to the request of this line.
    pub fn strike(&mut self, line: &str) -> Option<(u64, Fault)> {
        let injected = self.all.iter_mut().find(|injected| {
            injected.left != Some(0) && {
                let (verb, place) = injected.pattern.split_once(' ').unwrap_or(("", &injected.pattern));
                line.starts_with(verb) && line.contains(place)
            }
        })?;
        injected.left = injected.left.map(|left| left - 1);
        Some((injected.id, injected.fault))
    }
}
